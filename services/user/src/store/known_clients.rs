//! Table `known_clients`: browsers and addresses that a user has logged in from.

use std::time::Duration;

use super::Store;
use crate::domain::{ClientKeys, Email, KnownClient};

/// After this time without a login, a client is unknown again.
pub(super) const REMEMBERED: Duration = Duration::from_secs(180 * 24 * 3600);

impl Store {
    pub async fn find_known_client(&self, email: &Email, client: &ClientKeys) -> sqlx::Result<KnownClient> {
        let found = sqlx::query_as!(
            KnownClient,
            r#"select coalesce(bool_or(k.key = $2), false) as "device!", coalesce(bool_or(k.key = $3), false) as "address!"
               from users u join known_clients k on k.user_id = u.id
               where lower(u.email) = lower($1) and k.key in ($2, $3)"#,
            email.as_str(),
            client.device.as_deref().unwrap_or_default(),
            client.address,
        );
        found.fetch_one(&self.pool).await
    }

    /// Remembers that the user logged in from there.
    pub async fn remember_client(&self, user_id: i32, client: &ClientKeys) -> sqlx::Result<()> {
        let keys: Vec<Vec<u8>> = client.device.iter().chain([&client.address]).cloned().collect();
        // A recent row is not updated, so that concurrent logins do not wait for each other.
        sqlx::query!(
            "insert into known_clients as k (user_id, key)
             select $1, key from unnest($2::bytea[]) as c (key) order by key
             on conflict (user_id, key) do update set last_seen_at = now()
                 where k.last_seen_at < now() - interval '1 day'",
            user_id,
            &keys,
        )
        .execute(&self.pool)
        .await
        .map(drop)
    }
}
