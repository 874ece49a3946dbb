//! Journeys of users over HTTP, on the whole platform: `make test`, or
//! `stack servers -- cargo test -p eventplatform-tests`.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod api_page;
mod authorization;
mod bad_input;
mod broker;
mod capacity;
mod deletion;
mod expiry;
mod idempotency;
mod journey;
mod metrics;
mod replicas;
mod schema;
mod slow_clients;
mod tickets;

use eventplatform_tests::stack::{Options, Stack};
use tokio::sync::OnceCell;

/// The platform that the tests share. A test that stops servers or needs other settings starts its own.
async fn platform() -> &'static Stack {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK.get_or_init(async || Stack::start(Options::default()).await.unwrap()).await
}
