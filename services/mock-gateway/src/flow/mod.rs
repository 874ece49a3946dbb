//! What routes and loops do with the store.
//!
//! - [`commands`]: the effect of a request inside its transaction; [`faults`]: which fault applies

pub mod commands;
pub mod faults;
