//! What happens to a booking, step by step. Each effect (a commit, a call of a neighbour) has one place here, and
//! between any two of them the process may be killed: requests, sweepers and consumers all enter the same functions,
//! which look at what is stored and go on from there.
//!
//! - [`hold`]: a booking is written and its seats are held
//! - [`pay`]: an attempt to pay is written, charged, and its outcome found out
//! - [`settle`]: a charged attempt buys the seats or is refunded
//! - [`free`]: a booking that costs nothing confirms
//! - [`refund`]: money that is owed goes back
//! - [`expire`]: holds end, seats go back
//! - [`cancel`]: the owner ends a booking
//! - [`forget`]: the owner deleted the account

pub mod cancel;
pub mod expire;
pub mod forget;
pub mod free;
pub mod hold;
pub mod pay;
pub mod refund;
pub mod settle;
