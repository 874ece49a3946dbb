//! Refusals as API errors.

use platform::{ApiError, error::FieldError};

use crate::domain::Refusal;

/// By then, most of a full queue has been processed.
const HASHING_RETRY_SECONDS: u32 = 5;

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::EmailTaken => Self::conflict("email_taken", detail),
            Refusal::AccountDeleted => Self::conflict("account_deleted", detail),
            Refusal::InvalidCredentials => Self::unauthorized("invalid_credentials", detail),
            Refusal::AccountDisabled => Self::forbidden("account_disabled", detail),
            Refusal::TooManyAttempts { retry_after_seconds } => {
                Self::too_many_requests("too_many_attempts", detail, retry_after_seconds)
            }
            Refusal::TooManyRegistrations { retry_after_seconds } => {
                Self::too_many_requests("too_many_registrations", detail, retry_after_seconds)
            }
            Refusal::HashingOverloaded => Self::too_many_requests("hashing_overloaded", detail, HASHING_RETRY_SECONDS),
            Refusal::InvalidRefreshToken => Self::unauthorized("invalid_refresh_token", detail),
            Refusal::RefreshTokenReused => Self::unauthorized("refresh_token_reused", detail),
            Refusal::SessionOver => Self::unauthorized("session_over", detail),
            Refusal::WrongPassword => Self::forbidden("wrong_password", detail),
            Refusal::PasswordChangedMeanwhile => Self::conflict("password_changed_meanwhile", detail),
            Refusal::InvalidResetToken => Self::unprocessable("invalid_reset_token", detail),
            Refusal::UserNotFound => Self::not_found("user_not_found", detail),
            Refusal::SessionNotFound => Self::not_found("session_not_found", detail),
            Refusal::AlreadyOrganizer => Self::conflict("already_organizer", detail),
            Refusal::OwnAccount => Self::conflict("own_account", detail),
            Refusal::NotAdminAnyMore => Self::forbidden("role_required", detail),
            Refusal::LastAdmin => Self::conflict("last_admin", detail),
            Refusal::EventsToCome => Self::conflict("events_to_come", detail),
        }
    }
}

/// 422 `invalid_request` for one field.
pub fn invalid_field(field: &str, message: &str) -> ApiError {
    ApiError::invalid(vec![FieldError::new(field, message)])
}
