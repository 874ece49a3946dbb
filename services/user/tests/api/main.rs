//! user-service over HTTP: the real router on a real PostgreSQL, with a database for each test.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod account;
mod deletion;
mod events;
mod helpers;
mod keys;
mod limits;
mod passwords;
mod process;
mod registration;
mod sessions;
mod settings;
mod users;
