//! mock-gateway: the payment gateway of development and tests. It implements the part of Stripe's API that
//! booking-service uses, with a durable ledger, signed webhooks and fault injection. Its replicas share one database.
//!
//! - [`config`]: settings; [`app`]: builds and runs the service; [`state`]: what handlers and loops share
//! - [`routes`]: the URL table and the handlers; [`error`]: refusals in Stripe's shape
//! - [`domain`]: payment methods, payment intents, fault rules, and Stripe's JSON objects; pure
//! - [`flow`]: what a command does inside its transaction, and which fault applies to a request or a webhook
//! - [`store`]: every query; [`cache`]: the fault rules; [`clients`]: the receiver of webhooks
//! - [`queue`]: events from transactions of this process to its deliveries
//! - [`loops`]: delivery of webhooks, settlement of late payments, and the purge of idempotency keys
//!
//! `routes` and `loops` use `flow`; `flow` uses `store`; all of them use `domain`.

pub mod app;
pub mod cache;
pub mod clients;
pub mod config;
pub mod domain;
pub mod error;
pub mod flow;
pub mod loops;
pub mod queue;
pub mod routes;
pub mod state;
pub mod store;
