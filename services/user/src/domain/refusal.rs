//! Why a request is refused.

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
    /// The answer only to those who know the password.
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
