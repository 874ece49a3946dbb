//! Sessions that ended and roles that changed while access tokens of them have not expired.

use std::{future::Future, sync::Arc, time::Duration};

use contracts::identity::{RevocationList, Role};
use tokio::{sync::Mutex, time::Instant};

use super::Store;

impl Store {
    /// What changed in the last `lifetime`, which is the same for all callers. Those who ask at the same time share a
    /// reading, so that many polls take one connection to the database.
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

/// The latest reading of a value, shared by those who asked before it began.
#[derive(Debug)]
pub(super) struct SharedReading<T> {
    latest: Mutex<Option<(Instant, Arc<T>)>>,
}

impl<T> SharedReading<T> {
    /// A value that was read after this call began.
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

impl<T> Default for SharedReading<T> {
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
    async fn those_who_ask_at_once_share_a_reading_that_began_no_earlier() {
        const READING: Duration = Duration::from_millis(10);
        let (shared, readings) = (SharedReading::default(), AtomicUsize::new(0));
        let ask = async |after: Duration| {
            tokio::time::sleep(after).await;
            let read = async {
                let number = readings.fetch_add(1, Relaxed) + 1;
                tokio::time::sleep(READING).await;
                Ok::<_, Infallible>(number)
            };
            *shared.get(read).await.unwrap()
        };

        let (first, meanwhile) = tokio::join!(ask(Duration::ZERO), join_all((0..100).map(|_| ask(READING / 2))));

        assert_eq!((first, meanwhile), (1, vec![2; 100]));
        assert_eq!(readings.load(Relaxed), 2);
    }
}
