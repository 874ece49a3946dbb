//! notification-service: stores notifications about bookings and events, and streams them to their users.
//!
//! - [`config`]: settings; [`app`]: builds and runs the service; [`state`]: what handlers and loops share
//! - [`routes`]: the URL table and the handlers; [`error`]: domain errors as API errors
//! - [`domain`]: notifications, and their texts in every language; pure
//! - [`store`]: every query and transaction
//! - [`streams`]: the open event streams of this replica
//! - [`loops`]: the consumer, the change stream, and the purge of deleted accounts
//!
//! Which module may use which: docs/architecture.md.

pub mod app;
pub mod config;
pub mod domain;
pub mod error;
pub mod loops;
pub mod routes;
pub mod state;
pub mod store;
pub mod streams;
