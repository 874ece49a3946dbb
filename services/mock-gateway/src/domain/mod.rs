//! Entities and rules; pure.
//!
//! - [`intent`]: payment intents, charges and refunds; [`objects`]: their JSON as Stripe's objects
//! - `payment_method`: the payment methods; `refusal`: why a request is refused
//! - [`fault`]: rules of fault injection

pub mod fault;
pub mod intent;
pub mod objects;
mod payment_method;
mod refusal;

pub use self::{payment_method::PaymentMethod, refusal::Refusal};
