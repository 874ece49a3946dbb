//! The gateway over HTTP, with a real PostgreSQL and a receiver of webhooks.

#![expect(clippy::unwrap_used, reason = "a failed test panics")]

mod control;
mod faults;
mod helpers;
mod idempotency;
mod payment_intents;
mod protocol;
mod refunds;
mod webhooks;
