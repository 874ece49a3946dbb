//! Free loopback ports.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex};

use anyhow::{Context, Result};

/// Ports already handed out by this process: a server takes a moment to bind the port it was given.
static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A loopback port that nothing listens on and that this process has not handed out before.
pub fn free() -> Result<u16> {
    let mut taken = TAKEN.lock().expect("no panic while the lock is held");
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
        let port = listener.local_addr()?.port();
        if taken.insert(port) {
            return Ok(port);
        }
    }
}
