//! The harness of every API test: requests to a router, tokens and keys, databases of one's own, waiting.
//!
//! - [`http`]: a request to the service under test, and its answer
//! - [`identity`]: users' tokens, and the keys of users and services
//! - [`database`]: a PostgreSQL database that goes away with its test
//! - [`commands`]: the commands that a client sends to MongoDB
//!
//! Tests find the servers in `TEST_POSTGRES_URL`, `TEST_MONGODB_URL` and `TEST_AMQP_URL`; `make test` sets them.

#![allow(clippy::unwrap_used, reason = "this is for tests")]

pub mod commands;
pub mod database;
pub mod http;
pub mod identity;

use std::time::Duration;

pub use self::{
    database::Database,
    http::{Answer, Call},
};

/// The longest wait for a condition.
pub const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// The URL of a server for tests, such as the one in `TEST_AMQP_URL`.
pub fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set; run: make test"))
}

/// Waits until the condition gives something, for [`WAIT_LIMIT`] at most.
pub async fn wait_for<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT_LIMIT, waiting).await.unwrap_or_else(|_| panic!("not within {WAIT_LIMIT:?}: {what}"))
}

/// Waits until the condition holds, for [`WAIT_LIMIT`] at most.
pub async fn wait_until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    wait_for(what, async || condition().await.then_some(())).await;
}
