//! Publishing and consuming on a real RabbitMQ. Queues have one name each, so these tests take turns.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed test may panic; test names are sentences")]

mod consuming;
mod dead_letters;
mod helpers;
mod publishing;
