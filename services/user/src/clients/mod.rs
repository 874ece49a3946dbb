//! Clients of other services.

pub mod event_service;
