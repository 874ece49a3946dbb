//! Refusals: one `application/problem+json` shape (RFC 9457) with a stable `code`.

use std::collections::BTreeMap;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;

use crate::trace::RequestContext;

/// The result of a handler.
pub type ApiResult<T> = Result<T, ApiError>;

/// The kinds of refusal, each with its HTTP status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// 400, or another 4xx where the constructor says so: the request cannot be understood.
    BadRequest(StatusCode),
    /// 422: understood, but what it asks for is not valid.
    Invalid,
    /// 401: the caller is not authenticated.
    Unauthorized,
    /// 402: the payment was declined.
    PaymentRequired,
    /// 403: the caller may not do this.
    Forbidden,
    /// 404: it does not exist, or the caller may not see it.
    NotFound,
    /// 409: the current state does not allow it.
    Conflict,
    /// 429: too many requests.
    TooManyRequests,
    /// 503: a dependency does not answer; try again.
    Unavailable,
    /// 500: a bug.
    Internal,
}

impl Kind {
    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(status) => status,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::PaymentRequired => StatusCode::PAYMENT_REQUIRED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A refusal. The cause of a 5xx is logged once, when it becomes a response, and never sent.
#[derive(Debug)]
pub struct ApiError {
    kind: Kind,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    members: BTreeMap<&'static str, Value>,
    retry_after_seconds: Option<u32>,
    transient: bool,
    cause: Option<anyhow::Error>,
}

/// Marks a response whose refusal is transient; see [`ApiError::transient`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transient;

/// A validation error of one field.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "api", derive(schemars::JsonSchema))]
pub struct FieldError {
    /// The field's name as in the body.
    pub field: String,
    /// What is wrong, and what would be valid.
    pub message: String,
}

impl FieldError {
    /// A message about one field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// The body of every refusal, `application/problem+json` (RFC 9457).
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "api", derive(schemars::JsonSchema))]
pub struct Problem {
    /// Always `about:blank`: the `code` tells problems apart.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The reason phrase of the status.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable code for programs, such as `sold_out`.
    pub code: &'static str,
    /// What happened and what to do, for people.
    pub detail: String,
    /// For logs and support.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The fields at fault, for `invalid_request`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// What else programs need to know of some problems.
    #[serde(flatten)]
    #[cfg_attr(feature = "api", schemars(skip))]
    pub members: BTreeMap<&'static str, Value>,
}

impl ApiError {
    /// A refusal of any kind.
    pub fn new(kind: Kind, code: impl Into<&'static str>, detail: impl Into<String>) -> Self {
        Self {
            kind,
            code: code.into(),
            detail: detail.into(),
            errors: Vec::new(),
            members: BTreeMap::new(),
            retry_after_seconds: None,
            transient: false,
            cause: None,
        }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(code: impl Into<&'static str>, detail: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest(StatusCode::BAD_REQUEST), code, detail)
    }

    /// 422 `invalid_request`, with the fields at fault.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect::<Vec<_>>().join("; ");
        Self { errors, ..Self::new(Kind::Invalid, "invalid_request", detail) }
    }

    /// 422 with a code of its own.
    pub fn unprocessable(code: impl Into<&'static str>, detail: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, code, detail)
    }

    /// 401.
    pub fn unauthorized(code: impl Into<&'static str>, detail: impl Into<String>) -> Self {
        Self::new(Kind::Unauthorized, code, detail)
    }

    /// 402.
    pub fn payment_required(code: impl Into<&'static str>, detail: impl Into<String>) -> Self {
        Self::new(Kind::PaymentRequired, code, detail)
    }

    /// 403.
    pub fn forbidden(code: impl Into<&'static str>, detail: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, code, detail)
    }

    /// 404.
    pub fn not_found(code: impl Into<&'static str>, detail: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, code, detail)
    }

    /// 409.
    pub fn conflict(code: impl Into<&'static str>, detail: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, code, detail)
    }

    /// 429, with the seconds to wait.
    pub fn too_many_requests(
        code: impl Into<&'static str>,
        detail: impl Into<String>,
        retry_after_seconds: u32,
    ) -> Self {
        Self::new(Kind::TooManyRequests, code, detail).retry_after(retry_after_seconds)
    }

    /// 503: a dependency does not answer. The cause is logged.
    pub fn unavailable(
        code: impl Into<&'static str>,
        detail: impl Into<String>,
        cause: impl Into<anyhow::Error>,
    ) -> Self {
        Self::new(Kind::Unavailable, code, detail).because(cause).retry_after(1)
    }

    /// 500: a bug. The cause is logged, not sent.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        let detail = "something went wrong on our side; try again, and name the request id if it stays";
        Self::new(Kind::Internal, "internal", detail).because(cause)
    }

    /// Adds a cause that is logged and never sent.
    #[must_use]
    pub fn because(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds a member to the body (RFC 9457, 3.2).
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.insert(name, value.into());
        self
    }

    /// Adds a Retry-After header, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Marks the reason as transient: it is not an outcome, and never stored under an Idempotency-Key.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// The HTTP status of this refusal.
    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// The stable code of this refusal.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The body of this refusal.
    pub fn problem(&self) -> Problem {
        let status = self.status();
        Problem {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            code: self.code,
            detail: self.detail.clone(),
            request_id: RequestContext::current().map(|context| context.request_id),
            errors: self.errors.clone(),
            members: self.members.clone(),
        }
    }

    fn log(&self) {
        if let Some(cause) = &self.cause {
            if self.kind == Kind::Internal {
                tracing::error!(code = self.code, cause = format!("{cause:#}"), "request failed");
            } else {
                tracing::warn!(code = self.code, cause = format!("{cause:#}"), "request refused");
            }
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let body = serde_json::to_vec(&self.problem()).expect("a problem is plain data");
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.kind == Kind::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.transient {
            response.extensions_mut().insert(Transient);
        }
        response
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(cause: anyhow::Error) -> Self {
        Self::internal(cause)
    }
}
