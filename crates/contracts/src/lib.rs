//! What two programs must agree on: messages, routing keys, internal request bodies, settings. No I/O.
//!
//! - [`env`]: the environment variables that the operator sets; [`problem`]: codes of the shared HTTP layer
//! - [`message`]: the facts that travel over RabbitMQ and the names of exchanges and queues
//! - [`money`]: the currencies, and how amounts are written; [`payment`]: what a payment provider can charge
//! - [`reservation`]: the REST bodies and refusals between booking-service and event-service, and ids of events
//! - [`text`]: text from people: allowed characters, comparison, quoting
//! - [`identity`]: roles and token claims that user-service signs and the others verify

#![warn(missing_docs)]

pub mod env;
pub mod identity;
pub mod message;
pub mod money;
pub mod payment;
pub mod problem;
pub mod reservation;
pub mod text;
