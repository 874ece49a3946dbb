//! The mock payment company over HTTP, on a real PostgreSQL, with a receiver of webhooks.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod control;
mod faults;
mod helpers;
mod idempotency;
mod payment_intents;
mod protocol;
mod refunds;
mod webhooks;
