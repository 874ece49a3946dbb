//! The platform on a bare machine: servers, services and one origin, for `make dev`, `make test` and the end-to-end
//! tests.
//!
//! The `stack` program is the command line of this library (`cargo run -p eventplatform-tests --bin stack -- --help`).
//! Every test that needs a server finds it in `TEST_POSTGRES_URL`, `TEST_AMQP_URL` and `TEST_MONGODB_URL`, which
//! `stack servers` sets:
//!
//! ```sh
//! stack servers -- cargo test -p booking-service   # servers for one command
//! stack servers -- bash                            # servers for as long as that shell lives
//! ```
//!
//! The PostgreSQL role may create databases, the RabbitMQ user is an administrator of the default virtual host, and
//! MongoDB takes any database name: each test makes its own database, queue or prefix, and need not remove it.
//!
//! - [`servers`]: PostgreSQL, RabbitMQ and MongoDB as child processes, for one run or with data that stays
//! - [`programs`] and [`fleet`]: the platform's programs: building, settings, replicas, readiness
//! - [`secrets`]: keys and passwords, made once
//! - [`proxy`]: one origin in front of them all; [`link`]: what can go wrong between two of them
//! - [`stack`]: all of that for a test; [`api`] and [`people`]: the platform as its users see it;
//!   [`api_page`]: the page about its API; [`search`]: everything that it stores
//! - [`process`], [`paths`], [`ports`], [`wait`]: child processes, folders, free ports, waiting for a condition

pub mod api;
pub mod api_page;
pub mod fleet;
pub mod link;
pub mod paths;
pub mod people;
pub mod ports;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod search;
pub mod secrets;
pub mod servers;
pub mod stack;
pub mod wait;
