//! frontend: serves the site in `frontend/`, which `build.rs` minifies and embeds, with strict security headers. It has
//! no state and sets no cookies, and it serves the site even while the other services are unavailable.
//!
//! - [`config`]: settings; [`app`]: builds and runs the server
//! - [`routes`]: the URL table, the embedded files and the security headers
//! - [`clients`]: event-service, for the status of events' pages

pub mod app;
pub mod clients;
pub mod config;
pub mod routes;
