//! The operator against an API server in memory: what is written, in which order, and what is not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cluster;
mod scenarios;
mod server;
mod watches;
