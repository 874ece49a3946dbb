//! event-service through its router, on a real MongoDB and a real RabbitMQ.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed test may panic; test names are sentences")]

mod access;
mod commands;
mod concurrency;
mod deletions;
mod events;
mod helpers;
mod limits;
mod outbox;
mod program;
mod reservations;
mod search;
