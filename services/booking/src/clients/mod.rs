//! Other services and the world outside: event-service over REST, and the payment gateway.

pub mod event_service;
pub mod gateway;
