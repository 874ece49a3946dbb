//! Table `login_failures`: failed logins of an account and of an address within a window, shared by every replica.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::Store;
use crate::domain::{self, FAILURE_WINDOW, MAX_FAILURES_PER_ACCOUNT, MAX_FAILURES_PER_ADDRESS};

/// What failures are counted by. Kept as a hash: people type passwords into the wrong field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FailureKey(Vec<u8>);

/// The two counters that a login goes by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FailureLimit {
    /// Of the account, whether it exists or not.
    pub account: FailureKey,
    /// Of the client's address.
    pub address: FailureKey,
}

impl FailureLimit {
    /// The counters for what was typed as an e-mail address, from `address`. IPv6 counts by the network of a site.
    pub fn new(typed_email: &str, address: IpAddr) -> Self {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets()[..8].to_vec(),
        };
        Self { account: Self::account_key(typed_email), address: FailureKey::new(b"address", &network) }
    }

    /// The counter of an account alone.
    pub fn account_key(typed_email: &str) -> FailureKey {
        FailureKey::new(b"account", domain::account_key(typed_email).as_bytes())
    }
}

impl FailureKey {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn new(kind: &[u8], value: &[u8]) -> Self {
        Self(Sha256::new().chain_update(kind).chain_update([0]).chain_update(value).finalize().to_vec())
    }
}

impl Store {
    /// The seconds to wait, if either counter is at its limit.
    pub async fn find_wait(&self, limit: &FailureLimit) -> sqlx::Result<Option<u32>> {
        let seconds = sqlx::query_scalar!(
            r#"select ceil(extract(epoch from max(window_ends_at) - now()))::int as seconds from login_failures
               where window_ends_at > now()
                   and ((key = $1 and failures >= $3) or (key = $2 and failures >= $4))"#,
            limit.account.as_bytes(),
            limit.address.as_bytes(),
            MAX_FAILURES_PER_ACCOUNT,
            MAX_FAILURES_PER_ADDRESS,
        );
        let seconds = seconds.fetch_one(&self.pool).await?;
        Ok(seconds.map(|seconds| u32::try_from(seconds).unwrap_or(1).max(1)))
    }

    /// Counts a failure of the account and of the address. A window that is over begins anew.
    pub async fn insert_failure(&self, limit: &FailureLimit) -> sqlx::Result<()> {
        // Always the account's row first, so that two statements cannot wait for each other.
        let counted = sqlx::query!(
            "insert into login_failures as f (key, failures, window_ends_at)
             values ($1, 1, now() + make_interval(secs => $3)), ($2, 1, now() + make_interval(secs => $3))
             on conflict (key) do update set
                 failures = case when f.window_ends_at <= now() then 1 else f.failures + 1 end,
                 window_ends_at = case when f.window_ends_at <= now() then excluded.window_ends_at
                     else f.window_ends_at end",
            limit.account.as_bytes(),
            limit.address.as_bytes(),
            FAILURE_WINDOW.as_secs_f64(),
        );
        counted.execute(&self.pool).await.map(drop)
    }

    /// Forgets the failures of an account, whose password was right.
    pub async fn delete_failures(&self, account: &FailureKey) -> sqlx::Result<()> {
        sqlx::query!("delete from login_failures where key = $1", account.as_bytes())
            .execute(&self.pool)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(email: &str, address: &str) -> FailureLimit {
        FailureLimit::new(email, address.parse().unwrap())
    }

    #[test]
    fn an_account_is_counted_whatever_the_case() {
        assert_eq!(limit("Ada@Example.org", "10.0.0.1"), limit(" ada@example.ORG ", "10.0.0.1"));
        assert_ne!(limit("ada@example.org", "10.0.0.1").account, limit("bob@example.org", "10.0.0.1").account);
    }

    #[test]
    fn an_ipv6_client_is_counted_by_its_network() {
        assert_eq!(limit("a", "2001:db8::1").address, limit("a", "2001:db8::ffff").address);
        assert_ne!(limit("a", "2001:db8::1").address, limit("a", "2001:db8:0:1::1").address);
        assert_eq!(limit("a", "::ffff:10.0.0.1").address, limit("a", "10.0.0.1").address);
    }
}
