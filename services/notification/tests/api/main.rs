//! notification-service through its router, on a real MongoDB and a real RabbitMQ.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed test may panic; test names are sentences")]

mod commands;
mod consumer;
mod deletion;
mod helpers;
mod notifications;
mod program;
mod proxy;
mod stream;
