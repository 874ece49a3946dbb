//! user-service: accounts, sessions, and the access tokens that the other services verify.
//!
//! - [`config`]: settings; [`app`]: builds and runs the service; [`state`]: what handlers and loops share
//! - [`routes`]: the URL table and the handlers; [`error`]: refusals as API errors
//! - [`domain`]: entities and rules; pure
//! - [`store`]: every query; [`clients`]: event-service
//! - [`crypto`]: password hashes, signing keys and opaque tokens; computes, and calls no other program
//! - [`attempt_limiter`]: limits how many passwords of one client a replica verifies at a time
//! - [`loops`]: relay, reload of signing keys, purge of old rows, and creation of the first admin
//!
//! Which module may use which: docs/architecture.md.

pub mod app;
pub mod attempt_limiter;
pub mod clients;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod error;
pub mod loops;
pub mod routes;
pub mod state;
pub mod store;
