//! Refusals that several handlers share.

use std::{future::Future, time::Duration};

use platform::{ApiError, ApiResult, auth::Identity, mongo::bounded};

/// The longest wait for the database: shorter than a request may take, longer than a conflict lasts.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(20);

/// 404 unless the asker asks for their own notifications: nobody, admins included, learns of another's.
pub(crate) fn require_own(asker: &Identity, user_id: i32) -> ApiResult<()> {
    let own = asker.user_id == user_id || platform::guard_removed!("notification.owner");
    if own { Ok(()) } else { Err(no_such_notifications()) }
}

/// 404 for notifications that are not there or not the asker's.
pub(crate) fn no_such_notifications() -> ApiError {
    ApiError::not_found("not_found", "there are no such notifications of yours")
}

/// Runs work on the database in its own task, so that it completes even if the client disconnects. 503 if the database
/// does not answer.
pub(crate) async fn undropped<T>(work: impl Future<Output = mongodb::error::Result<T>> + Send + 'static) -> ApiResult<T>
where
    T: Send + 'static,
{
    Ok(bounded(DATABASE_TIMEOUT, work).await?)
}
