//! What two services must agree on: messages, routing keys, internal request bodies. No I/O.
//!
//! - [`message`]: the facts that travel over RabbitMQ and the names of exchanges and queues
//! - [`money`]: the currencies, and how amounts are written; [`payment`]: what a payment provider can charge
//! - [`reservation`]: the REST bodies between booking-service and event-service
//! - [`text`]: what people write: which characters it may have, and how it is compared
//! - [`identity`]: roles and token claims that user-service signs and the others verify

#![warn(missing_docs)]

pub mod identity;
pub mod message;
pub mod money;
pub mod payment;
pub mod reservation;
pub mod text;
