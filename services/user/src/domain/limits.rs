//! Limits on password attempts and registrations.
//!
//! Each client has few attempts per account, and all unknown clients together have a further limit per account.
//! Browsers and addresses that the owner has logged in from are exempt from the latter, so nobody can lock the owner
//! out.

use std::{net::IpAddr, time::Duration};

use sha2::{Digest, Sha256};

/// Failed attempts per account and client in [`FAILURE_WINDOW`], whether the account exists or not. A client is a
/// browser that the owner has logged in from, or otherwise an address.
const MAX_FAILURES_PER_CLIENT: u32 = 10;
/// Failed attempts per address in [`FAILURE_WINDOW`], for all accounts together.
const MAX_FAILURES_PER_ADDRESS: u32 = 50;
const FAILURE_WINDOW: Duration = Duration::from_secs(15 * 60);
/// Failed attempts per account in [`ACCOUNT_WINDOW`], from all unknown clients together.
const MAX_FAILURES_PER_ACCOUNT: u32 = 100;
const ACCOUNT_WINDOW: Duration = Duration::from_secs(3600);
const REGISTRATION_WINDOW: Duration = Duration::from_secs(3600);

/// At most `max` uses per window; the window begins with the first use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateLimit {
    /// A hash of the kind of limit and of what it limits.
    pub key: Vec<u8>,
    pub max: i32,
    pub window: Duration,
}

impl RateLimit {
    fn new(kind: &str, subject: &[&[u8]], max: u32, window: Duration) -> Self {
        let mut hash = Sha256::new_with_prefix(kind);
        for part in subject {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self { key: hash.finalize().to_vec(), max: i32::try_from(max).unwrap_or(i32::MAX), window }
    }

    fn per_client(kind: &str, subject: &[&[u8]]) -> Self {
        Self::new(kind, subject, MAX_FAILURES_PER_CLIENT, FAILURE_WINDOW)
    }

    fn per_account(account: &str) -> Self {
        Self::new("logins", &[account.as_bytes()], MAX_FAILURES_PER_ACCOUNT, ACCOUNT_WINDOW)
    }
}

/// Hashes by which a client is recognized.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientKeys {
    /// Hash of the device cookie, if the client sent one.
    pub device: Option<Vec<u8>>,
    /// Hash of the address.
    pub address: Vec<u8>,
}

/// What the owner of an account has logged in with before.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KnownClient {
    pub device: bool,
    pub address: bool,
}

/// The limits on one password attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttemptLimits {
    /// The limit for the account and client.
    pub client: RateLimit,
    /// All limits, including `client`.
    pub all: Vec<RateLimit>,
}

impl AttemptLimits {
    /// For a login with this e-mail address, as typed, whether such an account exists or not.
    pub fn of_login(typed_email: &str, address: IpAddr, keys: &ClientKeys, known: KnownClient) -> Self {
        let account = account_key(typed_email);
        if let (true, Some(device)) = (known.device, &keys.device) {
            let client = RateLimit::per_client("login from device", &[account.as_bytes(), device]);
            return Self { all: vec![client.clone()], client };
        }
        let network = network(address);
        let client = RateLimit::per_client("login from address", &[account.as_bytes(), &network]);
        let per_address = RateLimit::new("logins from address", &[&network], MAX_FAILURES_PER_ADDRESS, FAILURE_WINDOW);
        let mut all = vec![client.clone(), per_address];
        if !known.address {
            all.push(RateLimit::per_account(&account));
        }
        Self { client, all }
    }

    /// For a logged-in user who confirms the current password.
    pub fn of_session(session_id: &str) -> Self {
        let client = RateLimit::per_client("password in session", &[session_id.as_bytes()]);
        Self { all: vec![client.clone()], client }
    }
}

/// The limits that are reset when the owner of an account sets a new password, or deletes it, from `address`.
pub fn account_limits(email: &str, address: IpAddr) -> Vec<RateLimit> {
    let account = account_key(email);
    vec![
        RateLimit::per_client("login from address", &[account.as_bytes(), &network(address)]),
        RateLimit::per_account(&account),
    ]
}

/// The limit on registrations from an address.
pub fn registration_limit(address: IpAddr, max: u32) -> RateLimit {
    RateLimit::new("registrations from address", &[&network(address)], max, REGISTRATION_WINDOW)
}

/// The network by which a client is counted: an IPv4 address, or the /64 of an IPv6 address.
pub fn network(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

fn account_key(typed_email: &str) -> String {
    typed_email.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: KnownClient = KnownClient { device: false, address: false };

    fn limits(email: &str, address: &str, known: KnownClient) -> AttemptLimits {
        let keys = ClientKeys { device: Some(vec![1]), address: vec![2] };
        AttemptLimits::of_login(email, address.parse().unwrap(), &keys, known)
    }

    #[test]
    fn parts_of_a_key_are_kept_apart() {
        let key = |kind, subject: &[&[u8]]| RateLimit::new(kind, subject, 1, Duration::from_secs(1)).key;

        assert_eq!(key("client", &[b"a", b"b"]), key("client", &[b"a", b"b"]));
        assert_ne!(key("client", &[b"a", b"b"]), key("client", &[b"ab", b""]));
        assert_ne!(key("client", &[b"a"]), key("address", &[b"a"]));
    }

    #[test]
    fn an_account_is_counted_in_any_case() {
        assert_eq!(limits("Ada@Example.org", "10.0.0.1", UNKNOWN), limits(" ada@example.ORG ", "10.0.0.1", UNKNOWN));
        let (ada, bob) = (limits("ada@b", "10.0.0.1", UNKNOWN), limits("bob@b", "10.0.0.1", UNKNOWN));
        assert_ne!(ada.client, bob.client);
        assert_eq!(ada.all[1], bob.all[1], "the address is the same");
    }

    #[test]
    fn an_ipv6_client_is_counted_by_its_network() {
        let client = |address| limits("a", address, UNKNOWN).client;

        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:10.0.0.1"), client("10.0.0.1"));
    }

    #[test]
    fn unknown_clients_share_no_limit_with_known_ones() {
        let unknown = limits("a", "10.0.0.1", UNKNOWN);
        let device = limits("a", "10.0.0.1", KnownClient { device: true, address: false });
        let address = limits("a", "10.0.0.2", KnownClient { device: false, address: true });

        assert!(device.all.iter().chain(&address.all).all(|limit| !unknown.all.contains(limit)));
    }
}
