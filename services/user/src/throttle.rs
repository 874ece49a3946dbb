//! How often a password may be guessed, and by whom.
//!
//! Each client has few guesses per account, and all strangers together have a further limit per account. The owner's
//! own browsers and addresses do not count as strangers, so nobody else can lock them out.

use std::net::IpAddr;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    domain::{
        self, ACCOUNT_WINDOW, FAILURE_WINDOW, MAX_FAILURES_PER_ACCOUNT, MAX_FAILURES_PER_ADDRESS,
        MAX_FAILURES_PER_CLIENT, REGISTRATION_WINDOW,
    },
    store::{Acquaintance, ClientKeys, RateLimit},
};

/// The limits that apply to one guess.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GuessLimits {
    /// The limit for the account from this client.
    pub client: RateLimit,
    /// All limits, including that one.
    pub all: Vec<RateLimit>,
}

impl GuessLimits {
    /// For a login with this e-mail address, as typed, whether such an account exists or not.
    pub fn of_login(typed_email: &str, address: IpAddr, keys: &ClientKeys, known: Acquaintance) -> Self {
        let account = domain::account_key(typed_email);
        if let (true, Some(device)) = (known.device, &keys.device) {
            let client = of_client("login from device", &[account.as_bytes(), device]);
            return Self { all: vec![client.clone()], client };
        }
        let client = of_client("login from address", &[account.as_bytes(), &network(address)]);
        let mut all = vec![client.clone()];
        all.push(RateLimit::new("logins from address", &[&network(address)], MAX_FAILURES_PER_ADDRESS, FAILURE_WINDOW));
        if !known.address {
            all.push(RateLimit::new("logins", &[account.as_bytes()], MAX_FAILURES_PER_ACCOUNT, ACCOUNT_WINDOW));
        }
        Self { client, all }
    }

    /// For the present password, when it is asked for again within a session.
    pub fn of_session(session_id: &str) -> Self {
        let client = of_client("password in session", &[session_id.as_bytes()]);
        Self { all: vec![client.clone()], client }
    }
}

/// The limits that are reset when an account's owner sets a new password from `address`.
pub fn account_limits(email: &str, address: IpAddr) -> Vec<RateLimit> {
    let account = domain::account_key(email);
    vec![
        of_client("login from address", &[account.as_bytes(), &network(address)]),
        RateLimit::new("logins", &[account.as_bytes()], MAX_FAILURES_PER_ACCOUNT, ACCOUNT_WINDOW),
    ]
}

/// The limit for registrations from an address.
pub fn registration_limit(address: IpAddr, max: u32) -> RateLimit {
    RateLimit::new("registrations from address", &[&network(address)], max, REGISTRATION_WINDOW)
}

fn of_client(kind: &str, of: &[&[u8]]) -> RateLimit {
    RateLimit::new(kind, of, MAX_FAILURES_PER_CLIENT, FAILURE_WINDOW)
}

/// The network that a client is counted by: an IPv4 address, or the /64 that an IPv6 client has to itself.
pub fn network(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

/// Lets one client check two passwords at a time. Each counts as a failure until it proves right, so more at once would
/// use up the limit even if all are right.
#[derive(Clone, Debug, Default)]
pub struct Turns(std::sync::Arc<Lanes>);

#[derive(Debug)]
struct Lanes([Semaphore; 64]);

impl Default for Lanes {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Semaphore::new(2)))
    }
}

impl Turns {
    /// Waits for the turn of a guess under that limit. Limits that share its lane by chance wait too.
    pub async fn wait(&self, limit: &RateLimit) -> Option<SemaphorePermit<'_>> {
        let lane = limit.key().first().map_or(0, |byte| usize::from(byte % 64));
        // The semaphores are never closed.
        self.0.0[lane].acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: Acquaintance = Acquaintance { device: false, address: false };

    fn limits(email: &str, address: &str, known: Acquaintance) -> GuessLimits {
        let keys = ClientKeys { device: Some(vec![1]), address: vec![2] };
        GuessLimits::of_login(email, address.parse().unwrap(), &keys, known)
    }

    #[test]
    fn an_account_is_counted_whatever_the_case() {
        assert_eq!(limits("Ada@Example.org", "10.0.0.1", STRANGER), limits(" ada@example.ORG ", "10.0.0.1", STRANGER));
        let (ada, bob) = (limits("ada@b", "10.0.0.1", STRANGER), limits("bob@b", "10.0.0.1", STRANGER));
        assert_ne!(ada.client, bob.client);
        assert_eq!(ada.all[1], bob.all[1], "the address is the same");
    }

    #[test]
    fn an_ipv6_client_is_counted_by_its_network() {
        let client = |address| limits("a", address, STRANGER).client;

        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:10.0.0.1"), client("10.0.0.1"));
    }

    #[test]
    fn others_use_up_nothing_of_a_known_client() {
        let stranger = limits("a", "10.0.0.1", STRANGER);
        let device = limits("a", "10.0.0.1", Acquaintance { device: true, address: false });
        let address = limits("a", "10.0.0.2", Acquaintance { device: false, address: true });

        assert!(device.all.iter().chain(&address.all).all(|limit| !stranger.all.contains(limit)));
    }
}
