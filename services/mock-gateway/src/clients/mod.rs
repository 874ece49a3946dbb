//! Clients of the world outside.

pub mod webhook_receiver;
