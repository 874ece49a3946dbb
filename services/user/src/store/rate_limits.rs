//! Table `rate_limits`: how much of a limit is used up within its window, shared by every replica.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Store;

/// A number of uses per window; the window begins with the first use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateLimit {
    key: Vec<u8>,
    max: i32,
    window: Duration,
}

impl RateLimit {
    /// At most `max` uses per `window`, counted by `kind` and by the limited thing. Only a hash of both is stored.
    pub fn new(kind: &str, of: &[&[u8]], max: u32, window: Duration) -> Self {
        let mut hash = Sha256::new_with_prefix(kind);
        for part in of {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self { key: hash.finalize().to_vec(), max: i32::try_from(max).unwrap_or(i32::MAX), window }
    }

    /// The key of the limit in the table.
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Store {
    /// The seconds to wait, if any of the limits is used up.
    pub async fn find_wait(&self, limits: &[RateLimit]) -> sqlx::Result<Option<u32>> {
        let (keys, maxima, _) = columns(limits);
        let seconds = sqlx::query_scalar!(
            r#"select ceil(extract(epoch from max(r.window_ends_at) - now()))::int as seconds
               from rate_limits r join unnest($1::bytea[], $2::int[]) as l (key, max) on l.key = r.key
               where r.window_ends_at > now() and r.used >= l.max"#,
            &keys,
            &maxima,
        );
        Ok(seconds.fetch_one(&self.pool).await?.map(at_least_one))
    }

    /// Takes one use of every limit. If any of them is used up, it takes none and returns the seconds to wait.
    pub async fn reserve(&self, limits: &[RateLimit]) -> sqlx::Result<Option<u32>> {
        let (keys, maxima, windows) = columns(limits);
        let mut transaction = self.pool.begin().await?;
        // In the order of the keys, so that two statements cannot deadlock.
        let seconds = sqlx::query_scalar!(
            r#"with l as (
                   select * from unnest($1::bytea[], $2::int[], $3::float8[]) as l (key, max, seconds)
               ), counted as (
                   insert into rate_limits as r (key, used, window_ends_at)
                   select key, 1, now() + make_interval(secs => seconds) from l order by key
                   on conflict (key) do update set
                       used = case when r.window_ends_at <= now() then 1 else r.used + 1 end,
                       window_ends_at = case when r.window_ends_at <= now() then excluded.window_ends_at
                           else r.window_ends_at end
                   returning r.key, r.used, r.window_ends_at
               )
               select ceil(extract(epoch from max(counted.window_ends_at) - now()))::int as seconds
               from counted join l on l.key = counted.key where counted.used > l.max"#,
            &keys,
            &maxima,
            &windows,
        )
        .fetch_one(&mut *transaction)
        .await?;
        match seconds {
            Some(seconds) => {
                transaction.rollback().await?;
                Ok(Some(at_least_one(seconds)))
            }
            None => transaction.commit().await.map(|()| None),
        }
    }

    /// Gives back the reserved uses, and resets the limits in `cleared`.
    pub async fn give_back(&self, limits: &[RateLimit], cleared: &RateLimit) -> sqlx::Result<()> {
        let (keys, ..) = columns(limits);
        sqlx::query!(
            "with locked as (
                 select key from rate_limits where key = any($1) order by key for update
             )
             update rate_limits r set used = case when r.key = $2 then 0 else greatest(r.used - 1, 0) end
             from locked where r.key = locked.key",
            &keys,
            cleared.key,
        )
        .execute(&self.pool)
        .await
        .map(drop)
    }
}

fn columns(limits: &[RateLimit]) -> (Vec<Vec<u8>>, Vec<i32>, Vec<f64>) {
    let keys = limits.iter().map(|limit| limit.key.clone()).collect();
    let maxima = limits.iter().map(|limit| limit.max).collect();
    let windows = limits.iter().map(|limit| limit.window.as_secs_f64()).collect();
    (keys, maxima, windows)
}

fn at_least_one(seconds: i32) -> u32 {
    u32::try_from(seconds).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let key = |kind, of: &[&[u8]]| RateLimit::new(kind, of, 1, Duration::from_secs(1)).key;

        assert_eq!(key("client", &[b"a", b"b"]), key("client", &[b"a", b"b"]));
        assert_ne!(key("client", &[b"a", b"b"]), key("client", &[b"ab", b""]));
        assert_ne!(key("client", &[b"a"]), key("address", &[b"a"]));
    }
}
