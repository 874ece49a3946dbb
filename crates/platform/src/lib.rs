//! Service defaults: what all programs of the platform share.
//!
//! - [`config`]: settings from environment and files, secrets that refuse to be defaults
//! - [`telemetry`]: logs and metrics; [`trace`]: W3C trace context and request ids
//! - [`server`]: the two listeners, timeouts, the way a process stops; [`health`]: liveness and readiness
//! - [`error`]: refusals as RFC 9457 problems; [`extract`]: bodies, paths and queries; [`json`]: JSON read strictly;
//!   [`page`]: cursor pagination
//! - [`auth`]: authentication; [`idempotency`]: N identical requests, one effect, N identical answers
//! - [`key_ring`]: signing keys in a folder, and their rotation
//! - [`client`]: outgoing HTTP; [`bus`]: RabbitMQ; [`outbox`]: the relay from a database to RabbitMQ
//! - [`task`]: background loops that restart after a panic; [`retry`]: a call with backoff until a deadline
//! - [`clock`]: the only place that reads the time; [`openapi`]: the description made from the code
//! - [`postgres`] and [`mongo`]: connections with deadlines
//! - `failpoint`: where tests kill or stall a process; absent from release builds

#![warn(missing_docs)]

#[cfg(feature = "auth")]
pub mod auth;
#[cfg(feature = "bus")]
pub mod bus;
#[cfg(feature = "client")]
pub mod client;
pub mod clock;
pub mod config;
#[cfg(feature = "server")]
pub mod error;
#[cfg(feature = "server")]
pub mod extract;
#[cfg(all(feature = "failpoints", debug_assertions))]
pub mod failpoint;
pub mod health;
#[cfg(feature = "api")]
pub mod idempotency;
#[cfg(feature = "server")]
pub mod json;
pub mod key_ring;
#[cfg(feature = "mongo")]
pub mod mongo;
#[cfg(feature = "api")]
pub mod openapi;
#[cfg(feature = "bus")]
pub mod outbox;
#[cfg(feature = "api")]
pub mod page;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod retry;
#[cfg(feature = "server")]
pub mod server;
pub mod task;
pub mod telemetry;
pub mod trace;

/// Nothing: this build has no failpoints.
#[cfg(not(all(feature = "failpoints", debug_assertions)))]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {};
}

pub use clock::Clock;
#[cfg(feature = "server")]
pub use error::{ApiError, ApiResult};
pub use task::Lifecycle;
