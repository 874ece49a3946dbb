//! Free loopback ports.

use std::collections::HashSet;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::{LazyLock, Mutex};

use anyhow::{Result, bail};
use rand::RngExt;

/// Below the range from which Linux takes the ports of outgoing connections: none of those can take a port in the
/// moment before a server binds it, or while the server is down.
const RANGE: Range<u16> = 20_000..32_000;
const ATTEMPTS: usize = 1_000;

/// Ports handed out by this process: a server takes a moment to bind the port it was given.
static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A loopback port that nothing listens on and that this process has not handed out before.
pub fn free() -> Result<u16> {
    let mut taken = TAKEN.lock().expect("no panic while the lock is held");
    for _ in 0..ATTEMPTS {
        let port = rand::rng().random_range(RANGE);
        if !taken.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.insert(port);
            return Ok(port);
        }
    }
    bail!("found no free port between {} and {} on 127.0.0.1", RANGE.start, RANGE.end)
}
