//! Ended sessions and changed roles whose access tokens may not have expired.

use std::{future::Future, sync::Arc, time::Duration};

use contracts::identity::{RevocationList, Role};
use tokio::{sync::Mutex, time::Instant};

use super::Store;

impl Store {
    /// The changes in the last `lifetime`, which must be the same for all callers. Concurrent calls share one read, so
    /// that many polls take one connection to the database.
    pub async fn list_revocations(&self, lifetime: Duration) -> sqlx::Result<Arc<RevocationList>> {
        self.revocations.get(self.read_revocations(lifetime)).await
    }

    async fn read_revocations(&self, lifetime: Duration) -> sqlx::Result<RevocationList> {
        let seconds = lifetime.as_secs_f64();
        let sessions = sqlx::query_scalar!(
            r#"select id::text as "id!" from sessions
               where revoked_at > now() - make_interval(secs => $1) order by id"#,
            seconds
        );
        let users = sqlx::query!(
            "select id, role from users where role_changed_at > now() - make_interval(secs => $1)",
            seconds
        );
        let sessions = sessions.fetch_all(&self.pool).await?;
        let roles = users.fetch_all(&self.pool).await?;
        let roles = roles.into_iter().filter_map(|row| Some((row.id, Role::parse(&row.role)?))).collect();
        Ok(RevocationList { sessions, roles })
    }
}

/// The latest read of a value, shared by the calls that were made before it began.
#[derive(Debug)]
pub(super) struct SharedRead<T> {
    latest: Mutex<Option<(Instant, Arc<T>)>>,
}

impl<T> SharedRead<T> {
    /// A value whose read began after this call.
    async fn get<E>(&self, read: impl Future<Output = Result<T, E>>) -> Result<Arc<T>, E> {
        let asked = Instant::now();
        let mut latest = self.latest.lock().await;
        if let Some((began, value)) = &*latest
            && *began >= asked
        {
            return Ok(value.clone());
        }
        let began = Instant::now();
        let value = Arc::new(read.await?);
        *latest = Some((began, value.clone()));
        Ok(value)
    }
}

impl<T> Default for SharedRead<T> {
    fn default() -> Self {
        Self { latest: Mutex::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use futures::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn concurrent_calls_share_a_read_that_began_after_them() {
        const READ_TIME: Duration = Duration::from_millis(10);
        let (shared, reads) = (SharedRead::default(), AtomicUsize::new(0));
        let call = async |after: Duration| {
            tokio::time::sleep(after).await;
            let read = async {
                let number = reads.fetch_add(1, Relaxed) + 1;
                tokio::time::sleep(READ_TIME).await;
                Ok::<_, Infallible>(number)
            };
            *shared.get(read).await.unwrap()
        };

        let (first, meanwhile) = tokio::join!(call(Duration::ZERO), join_all((0..100).map(|_| call(READ_TIME / 2))));

        assert_eq!((first, meanwhile), (1, vec![2; 100]));
        assert_eq!(reads.load(Relaxed), 2);
    }
}
