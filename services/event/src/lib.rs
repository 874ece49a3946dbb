//! event-service: events, their seats, and the reservations of these seats.
//!
//! - [`config`]: settings; [`app`]: builds and runs the service; [`state`]: what handlers share
//! - [`routes`]: the URL table and its handlers; [`error`]: refusals and failures as API errors
//! - [`domain`]: entities and rules, pure; [`store`]: every query and the transaction of a batch
//! - [`queue`]: group commit, one queue per event; [`cache`]: the cache in front of reads
//! - [`loops`]: everything that runs in the background
//!
//! Which module may use which: docs/architecture.md.

pub mod app;
pub mod cache;
pub mod config;
pub mod domain;
pub mod error;
pub mod loops;
pub mod queue;
pub mod routes;
pub mod state;
pub mod store;
