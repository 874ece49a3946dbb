//! What can go wrong in a reconcile, with messages that a person can act on.

use std::fmt::Write;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a platform is not as specified, unless it is only a matter of time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the spec is invalid: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// A Secret that the spec refers to does not exist or lacks keys.
    #[error("{}", .0.join("; "))]
    ReferenceMissing(Vec<String>),
    /// A generated credential is gone. `keys` is empty if the whole Secret is.
    #[error("{}", lost(.secret, .keys))]
    CredentialLost { secret: String, keys: Vec<String> },
    /// Somebody else owns an object with a name that the platform needs.
    #[error(
        "{kind} {name} exists and does not belong to this platform; delete or rename it, or name the platform otherwise"
    )]
    NameTaken { kind: String, name: String },
    #[error("the operator lacks a permission; compare its roles with the chart: {0}")]
    Forbidden(String),
    #[error("somebody else wrote at the same time: {0}")]
    Conflict(String),
    #[error("the API server rejects {object}: {message}")]
    Refused { object: String, message: String },
    /// The spec asks for a kind whose definition is not installed.
    #[error("cannot create {object}: this cluster does not know {kind}; install its definition, or change the spec")]
    KindUnknown { object: String, kind: String },
    /// In seconds.
    #[error("a reconcile took longer than {0} s")]
    TimedOut(u64),
    #[error("the API server fails on {object}: {source}")]
    Api { object: String, source: Box<kube::Error> },
}

impl Error {
    /// The reason of a condition or event, and the outcome in the metrics.
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
            Self::Api { .. } => "ApiUnavailable",
        }
    }

    /// Whether only a person can end it, so that retrying sooner would not help.
    pub fn waits_for_change(&self) -> bool {
        matches!(
            self,
            Self::Invalid(_) | Self::ReferenceMissing(_) | Self::CredentialLost { .. } | Self::NameTaken { .. }
        )
    }

    /// Whether it ends by itself, as a rule. The status leaves it out until it has failed several times in a row.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Api { .. })
    }

    /// Classifies the API server's answer to a request about `object`.
    pub fn from_api(object: &str, error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 403 && is_about_rights(&status.message) => {
                Self::Forbidden(status.message)
            }
            kube::Error::Api(status) if status.code == 409 => Self::Conflict(status.message),
            kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => {
                Self::Refused { object: object.to_owned(), message: status.message }
            }
            error => Self::Api { object: object.to_owned(), source: Box::new(error) },
        }
    }
}

/// Whether a 403 is about the operator's rights. Quotas, policies and webhooks answer 403 too; only the text differs.
fn is_about_rights(message: &str) -> bool {
    !message.contains("admission webhook") && message.contains("cannot ")
}

fn lost(secret: &str, keys: &[String]) -> String {
    let mut text = format!("credentials are lost: Secret {secret} ");
    // Writing to a String cannot fail.
    if keys.is_empty() {
        text.push_str("is gone");
    } else {
        write!(text, "has no {}", keys.join(", ")).ok();
    }
    text.push_str("; restore it from a backup. Running pods keep running, and nothing is generated over existing data");
    text
}
