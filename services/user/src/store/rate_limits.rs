//! Table `rate_limits`: uses of each limit in its current window, shared by all replicas.

use super::Store;
use crate::domain::RateLimit;

impl Store {
    /// The seconds to wait if any of the limits is exhausted.
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

    /// Takes one use of every limit. If any of them is exhausted, takes none and returns the seconds to wait.
    pub async fn reserve(&self, limits: &[RateLimit]) -> sqlx::Result<Option<u32>> {
        let (keys, maxima, windows) = columns(limits);
        let mut transaction = self.pool.begin().await?;
        // Ordered by key, so that two statements cannot deadlock.
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

    /// Releases the reserved uses, and resets `reset` to zero.
    pub async fn release(&self, limits: &[RateLimit], reset: &RateLimit) -> sqlx::Result<()> {
        let (keys, ..) = columns(limits);
        sqlx::query!(
            "with locked as (
                 select key from rate_limits where key = any($1) order by key for update
             )
             update rate_limits r set used = case when r.key = $2 then 0 else greatest(r.used - 1, 0) end
             from locked where r.key = locked.key",
            &keys,
            reset.key,
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
