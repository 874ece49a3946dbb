//! booking-service: bookings that are never lost or confirmed without seats, and payments that are never taken twice.
//!
//! - [`config`]: settings; [`app`]: builds and runs the service; [`state`]: what handlers and loops share
//! - [`routes`]: the URL table and the handlers; [`error`]: domain errors as API errors
//! - [`crypto`]: the codes of tickets, and the tokens of door links
//! - [`domain`]: entities, transitions and rules; pure
//! - [`flow`]: the steps of booking, paying and cancelling; each effect has one place, and each step can be resumed
//! - [`store`]: every query; state changes are compare-and-sets
//! - [`clients`]: event-service and the payment gateway
//! - [`loops`]: relay, consumers, sweepers, reconciler and backfill
//!
//! Which module may use which: docs/architecture.md.

pub mod app;
pub mod clients;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod error;
pub mod flow;
pub mod loops;
pub mod routes;
pub mod state;
pub mod store;
