//! The steps of the booking saga. Each effect (a commit, a call to another service) has one place here, and the process
//! may be killed between any two of them: requests, sweepers and consumers enter the same functions, which read the
//! stored state and continue from there.
//!
//! - [`hold`]: stores a booking and holds its seats
//! - [`pay`]: stores a payment attempt, charges it, and finds out the outcome
//! - [`settle`]: confirms the seats of a charged attempt, or refunds it
//! - [`free`]: confirms a free booking
//! - [`refund`]: carries out refunds
//! - [`expire`]: ends holds and releases seats
//! - [`cancel`]: cancels a booking for its owner
//! - [`delete_account`]: erases a user's data and cancels the user's bookings

pub mod cancel;
pub mod delete_account;
pub mod expire;
pub mod free;
pub mod hold;
pub mod pay;
pub mod refund;
pub mod settle;
