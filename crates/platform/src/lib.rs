//! Service defaults: everything that the programs of the platform do alike, in one place.
//!
//! - [`config`]: settings from environment and files, secrets that refuse to be defaults
//! - [`telemetry`]: logs and metrics; [`trace`]: W3C trace context and request ids
//! - [`server`]: the two listeners, timeouts, the way a process stops; [`health`]: liveness and readiness
//! - [`error`]: refusals as RFC 9457 problems; [`extract`]: bodies, paths and queries; [`json`]: JSON read strictly;
//!   [`page`]: cursor pagination
//! - [`auth`]: who is asking; [`idempotency`]: N identical requests, one effect, N identical answers
//! - [`client`]: outgoing HTTP; [`bus`]: RabbitMQ; [`outbox`]: the relay from a database to RabbitMQ
//! - [`task`]: background loops that restart after a panic
//! - [`clock`]: the only place that reads the time; [`openapi`]: the description made from the code
//! - [`postgres`] and [`mongo`]: connections with deadlines
//! - `failpoint`: where tests kill or stall a process; absent from release builds

pub mod auth;
pub mod bus;
pub mod client;
pub mod clock;
pub mod config;
pub mod error;
pub mod extract;
#[cfg(all(feature = "failpoints", debug_assertions))]
pub mod failpoint;
pub mod health;
pub mod idempotency;
pub mod json;
pub mod mongo;
pub mod openapi;
pub mod outbox;
pub mod page;
pub mod postgres;
pub mod retry;
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

/// `false`: this build keeps its guards.
#[cfg(not(all(feature = "failpoints", debug_assertions)))]
#[macro_export]
macro_rules! guard_removed {
    ($name:literal) => {
        false
    };
}

pub use clock::Clock;
pub use error::{ApiError, ApiResult};
pub use task::Lifecycle;
