//! What this service refuses, and how each refusal is answered.

use platform::ApiError;
use thiserror::Error;

/// A refusal, named for the fact.
#[derive(Debug, Error)]
pub enum Refusal {
    /// Somebody registered with that address before.
    #[error("this e-mail address is taken; log in, or have your password reset")]
    EmailTaken,
    /// Unknown address or wrong password: the two look alike.
    #[error("the e-mail address or the password is wrong")]
    InvalidCredentials,
    /// The right password of a disabled account.
    #[error("this account is disabled; ask an administrator")]
    AccountDisabled,
    /// Too many failed logins of this account or from this address.
    #[error("too many failed attempts; try again later")]
    TooManyAttempts {
        /// Seconds until the window ends.
        retry_after_seconds: u32,
    },
    /// Too many registrations from this address.
    #[error("too many accounts were registered from your network; try again later")]
    TooManyRegistrations {
        /// Seconds until the window ends.
        retry_after_seconds: u32,
    },
    /// More passwords wait to be hashed than can be in good time.
    #[error("too many logins at this moment; try again")]
    HashingOverloaded,
    /// Not a refresh token of ours, or none at all.
    #[error("the refresh token is not valid; log in again")]
    InvalidRefreshToken,
    /// A refresh token that was rotated a while ago: somebody else may have it.
    #[error("this refresh token was used before; the session is closed, log in again")]
    RefreshTokenReused,
    /// Logged out, expired, or ended by a change of password.
    #[error("the session is over; log in again")]
    SessionOver,
    /// The present password, asked for once more, was wrong.
    #[error("the current password is wrong")]
    WrongPassword,
    /// Two changes of one password at once: the other one won.
    #[error("the password was changed by another request; log in again")]
    PasswordChangedMeanwhile,
    /// Unknown, used or expired.
    #[error("this reset token is not valid any more; ask for another one")]
    InvalidResetToken,
    /// Nobody has that id.
    #[error("there is no such user")]
    UserNotFound,
    /// The session belongs to somebody else, or has ended.
    #[error("there is no such session")]
    SessionNotFound,
    /// The person asks to become an organizer, but is one already, or an admin.
    #[error("you can create events already")]
    AlreadyOrganizer,
    /// An admin who would take their own rights away.
    #[error("your own role and status are another administrator's to change")]
    OwnAccount,
    /// The account was deleted or disabled, or its role changed, while it asked.
    #[error("you are not an administrator any more")]
    NotAdminAnyMore,
    /// The only admin who could still let somebody else be one.
    #[error("you are the only administrator; make somebody else one before you delete your account")]
    LastAdmin,
    /// Attendees would have nobody to turn to.
    #[error("you have events that have not ended; cancel them, or delete your account when they are over")]
    EventsToCome,
}

/// By then a full queue of passwords has mostly been worked off.
const HASHING_RETRY_SECONDS: u32 = 5;

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::EmailTaken => Self::conflict("email_taken", detail),
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
