//! Refusals, and their API errors.

use platform::{ApiError, error::FieldError};
use thiserror::Error;

/// Named like the codes of the API errors.
#[derive(Debug, Error)]
pub enum Refusal {
    #[error("this e-mail address is taken; log in, or have your password reset")]
    EmailTaken,
    /// The answer under an Idempotency-Key whose registration succeeded before.
    #[error("the account of this registration was deleted; use a new Idempotency-Key to register again")]
    AccountDeleted,
    /// Unknown address or wrong password; the answer does not tell which.
    #[error("the e-mail address or the password is wrong")]
    InvalidCredentials,
    /// Told only to those who know the password.
    #[error("this account is disabled; ask an administrator")]
    AccountDisabled,
    #[error("too many failed attempts; try again later")]
    TooManyAttempts { retry_after_seconds: u32 },
    #[error("too many accounts were registered from your network; try again later")]
    TooManyRegistrations { retry_after_seconds: u32 },
    /// The queue of passwords to hash is full.
    #[error("too many logins right now; try again")]
    HashingOverloaded,
    /// Unknown or missing.
    #[error("the refresh token is not valid; log in again")]
    InvalidRefreshToken,
    /// Rotated longer ago than the grace period; it may have been stolen.
    #[error("this refresh token was used before; the session is closed, log in again")]
    RefreshTokenReused,
    #[error("the session is over; log in again")]
    SessionOver,
    /// A logged-in user did not confirm the current password.
    #[error("the current password is wrong")]
    WrongPassword,
    /// A concurrent change won.
    #[error("the password was changed by another request; log in again")]
    PasswordChangedMeanwhile,
    /// Unknown, used or expired.
    #[error("this reset token is no longer valid; ask for another one")]
    InvalidResetToken,
    #[error("there is no such user")]
    UserNotFound,
    /// Also a session of another user, or one that has ended.
    #[error("there is no such session")]
    SessionNotFound,
    /// Already an organizer or an admin.
    #[error("you can create events already")]
    AlreadyOrganizer,
    /// Admins must not take away their own rights.
    #[error("only another administrator can change your role and status")]
    OwnAccount,
    /// The admin's own account was deleted, disabled or demoted meanwhile.
    #[error("you are not an administrator any more")]
    NotAdminAnyMore,
    #[error("you are the only administrator; appoint another one before you delete your account")]
    LastAdmin,
    /// Attendees need an organizer.
    #[error("you have events that have not ended; cancel them, or delete your account when they are over")]
    EventsToCome,
}

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
