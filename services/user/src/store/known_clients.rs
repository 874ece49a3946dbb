//! Table `known_clients`: the browsers and addresses that a user has logged in from.

use std::time::Duration;

use super::Store;
use crate::domain::Email;

/// After this time without a login, a client is a stranger again.
pub(super) const REMEMBERED: Duration = Duration::from_secs(180 * 24 * 3600);

/// Hashes by which a client is recognized.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientKeys {
    /// The hash of its device cookie, if it sent one.
    pub device: Option<Vec<u8>>,
    /// The hash of its address.
    pub address: Vec<u8>,
}

/// Whether the owner of an account has logged in from a client before.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Acquaintance {
    /// From that browser.
    pub device: bool,
    /// From that address.
    pub address: bool,
}

impl Store {
    /// Whether the owner of the account logged in from there before.
    pub async fn find_acquaintance(&self, email: &Email, client: &ClientKeys) -> sqlx::Result<Acquaintance> {
        let found = sqlx::query_as!(
            Acquaintance,
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
