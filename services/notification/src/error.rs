//! Refusals that several handlers share.

use std::future::Future;

use platform::{ApiError, ApiResult, auth::Identity, trace};

/// 404 unless the asker asks for their own notifications: nobody, admins included, learns of another's.
pub(crate) fn require_own(asker: &Identity, user_id: i32) -> ApiResult<()> {
    let own = asker.user_id == user_id || platform::guard_removed!("notification.owner");
    if own { Ok(()) } else { Err(no_such_notifications()) }
}

/// 404 for notifications that are not there or not the asker's.
pub(crate) fn no_such_notifications() -> ApiError {
    ApiError::not_found("not_found", "there are no such notifications of yours")
}

/// Runs a query in a task of its own, so that it ends in order though the client may go midway.
pub(crate) async fn undropped<T, E>(query: impl Future<Output = Result<T, E>> + Send + 'static) -> ApiResult<T>
where
    T: Send + 'static,
    E: Into<ApiError> + Send + 'static,
{
    trace::spawn(query).await.map_err(ApiError::internal)?.map_err(Into::into)
}
