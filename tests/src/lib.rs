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
//! - [`process`]: child processes that are stopped, killed and reported
//! - [`paths`], [`ports`], [`wait`]: where files go, which ports are free, waiting for a condition

pub mod paths;
pub mod ports;
pub mod process;
pub mod servers;
pub mod wait;
