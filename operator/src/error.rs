//! What can go wrong in a reconcile, in words that a person can act on.

use std::fmt::Write;

/// Why a platform is not as it should be, when that is not merely a matter of waiting.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The spec cannot be carried out.
    #[error("the spec cannot be carried out: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// A Secret that the spec refers to is absent or lacks keys.
    #[error("{}", .0.join("; "))]
    ReferenceMissing(Vec<String>),
    /// A made-up credential is gone.
    #[error("{}", lost(.secret, .keys))]
    CredentialLost {
        /// Name of the Secret.
        secret: String,
        /// What is missing of it; empty when all of it is gone.
        keys: Vec<String>,
    },
    /// Somebody else has an object of a name that is needed.
    #[error(
        "{kind} {name} exists and does not belong to this platform; delete or rename it, or name the platform otherwise"
    )]
    NameTaken {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The operator lacks a right.
    #[error("the operator may not do what it has to, see the roles in the chart: {0}")]
    Forbidden(String),
    /// Somebody else wrote at the same time.
    #[error("written at the same time by somebody else: {0}")]
    Conflict(String),
    /// The API server refuses an object.
    #[error("the API server refuses {object}: {message}")]
    Refused {
        /// Kind and name.
        object: String,
        /// What it says.
        message: String,
    },
    /// The cluster has no definition of a kind that the spec asks for.
    #[error(
        "{object} cannot be made, for this cluster does not know {kind}; install its definition, or change the spec"
    )]
    KindUnknown {
        /// Kind and name.
        object: String,
        /// The kind with its group and version.
        kind: String,
    },
    /// A reconcile took too long.
    #[error("a reconcile took longer than {0} s")]
    TimedOut(u64),
    /// Everything else between here and the API server.
    #[error("the API server cannot be used: {0}")]
    Api(#[source] Box<kube::Error>),
}

impl Problem {
    /// One word for a condition, an event or a metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "InvalidSpec",
            Self::ReferenceMissing(_) => "ReferenceMissing",
            Self::CredentialLost { .. } => "CredentialLost",
            Self::NameTaken { .. } => "NameTaken",
            Self::Forbidden(_) => "Forbidden",
            Self::Conflict(_) => "Conflict",
            Self::Refused { .. } => "Refused",
            Self::KindUnknown { .. } => "KindUnknown",
            Self::TimedOut(_) => "TimedOut",
            Self::Api(_) => "ApiUnavailable",
        }
    }

    /// Whether it passes only when somebody changes something; trying again sooner would not help.
    pub fn waits_for_change(&self) -> bool {
        matches!(
            self,
            Self::Invalid(_) | Self::ReferenceMissing(_) | Self::CredentialLost { .. } | Self::NameTaken { .. }
        )
    }

    /// Whether it passes by itself, so that the status need not speak of it.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Api(_))
    }

    /// What the API server's answer about `object` means.
    pub fn from_api(object: &str, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 403 => Self::Forbidden(status.message),
            kube::Error::Api(status) if status.code == 409 => Self::Conflict(status.message),
            kube::Error::Api(status) if matches!(status.code, 400 | 422) => {
                Self::Refused { object: object.to_owned(), message: status.message }
            }
            error => Self::Api(Box::new(error)),
        }
    }
}

fn lost(secret: &str, keys: &[String]) -> String {
    let mut text = format!("credentials are lost: Secret {secret} ");
    // Writing to a String cannot fail.
    if keys.is_empty() {
        text.push_str("is gone");
    } else {
        write!(text, "has no {}", keys.join(", ")).ok();
    }
    text.push_str("; restore it from a backup. Running pods are left alone, and nothing is made up over existing data");
    text
}
