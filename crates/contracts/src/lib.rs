//! What two services must agree on: messages, routing keys, internal request bodies. No I/O.
//!
//! - [`env`]: the environment variables that the operator sets; [`problem`]: codes of the shared HTTP layer
//! - [`message`]: the facts that travel over RabbitMQ and the names of exchanges and queues
//! - [`money`]: the currencies, and how amounts are written; [`payment`]: what a payment provider can charge
//! - [`reservation`]: the REST bodies and refusals between booking-service and event-service
//! - [`text`]: what people write: which characters it may have, and how it is compared
//! - [`identity`]: roles and token claims that user-service signs and the others verify

pub mod env;
pub mod identity;
pub mod message;
pub mod money;
pub mod payment;
pub mod problem;
pub mod reservation;
pub mod text;
