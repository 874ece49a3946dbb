//! Why a request is refused.

use thiserror::Error;

#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Refusal {
    /// The notification does not exist, or the notifications belong to another user.
    #[error("no such notifications")]
    NotFound,
    /// The access token has expired. For a stream, this leaves out the leeway that other requests get.
    #[error("the session has expired")]
    SessionExpired,
    /// This replica has no room for another stream.
    #[error("too many streams")]
    TooManyStreams,
}
