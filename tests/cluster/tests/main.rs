//! The cluster suite: what the operator does with a real API server, real pods and real servers. Each test names the
//! point that it shows. `make test-cluster` runs it.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod admission;
mod chart;
mod external;
mod idle;
mod lifecycle;
mod main_platform;
mod neighbours;
mod network;
mod rollout;
mod trouble;
