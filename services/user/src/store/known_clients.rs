//! Table `known_clients`: browsers and addresses that a user has logged in from.

use std::time::Duration;

use super::Store;
use crate::domain::{ClientKeys, Email, KnownClient};

/// After this time without a login, a client is unknown again.
pub(super) const REMEMBERED: Duration = Duration::from_secs(180 * 24 * 3600);

/// The latest clients of a user that are remembered. Bounds the table against logins from everywhere.
const MAX_CLIENTS: i32 = 50;

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

    /// Remembers that the user logged in from there, unless the account was deleted meanwhile. Forgets the clients that
    /// were not seen for the longest, beyond the latest 50.
    pub async fn remember_client(&self, user_id: i32, client: &ClientKeys) -> sqlx::Result<()> {
        let keys: Vec<Vec<u8>> = client.device.iter().chain([&client.address]).cloned().collect();
        // A recent row is not updated, so that concurrent logins do not wait for each other. What is inserted here is
        // not seen by the deletion, which therefore leaves room for it. It comes after the insertion, and passes over
        // what a concurrent login deletes, so that the two cannot deadlock.
        sqlx::query!(
            "with account as (
                 select id from users where id = $1 and deleted_at is null for key share
             ), inserted as (
                 insert into known_clients as k (user_id, key)
                 select account.id, c.key from account, unnest($2::bytea[]) as c (key) order by c.key
                 on conflict (user_id, key) do update set last_seen_at = now()
                     where k.last_seen_at < now() - interval '1 day'
                 returning k.key
             )
             delete from known_clients
             where user_id = $1 and key in (
                 select key from known_clients
                 where user_id = $1 and key in (
                     select key from known_clients
                     where user_id = $1 and key <> all($2) and (select count(*) from inserted) >= 0
                     order by last_seen_at desc, key offset greatest($3 - cardinality($2::bytea[]), 0)
                 )
                 order by key for update skip locked
             )",
            user_id,
            &keys,
            MAX_CLIENTS,
        )
        .execute(&self.pool)
        .await
        .map(drop)
    }
}
