//! Rules without I/O: the words of every state, the transitions between them, and what a request may do.
//!
//! - [`status`]: the states as stored and shown
//! - [`booking`]: a booking, the changes it may go through, and who may do what to it when
//! - [`reconciliation`]: our rows against the neighbours'
//! - [`payment`]: attempts to pay, refunds, and what clients see of them
//! - [`sales`]: who comes to an event, and what it has brought in

pub mod booking;
pub mod charge;
pub mod payment;
pub mod reconciliation;
pub mod sales;
pub mod status;

pub use self::{
    booking::{Booking, CancelRefusal, Change, ForbiddenTransition, NewBooking, PayRefusal, Rejection},
    payment::{Payment, PaymentPhase, Refund},
    sales::{Attendee, DaySales, EventSales},
    status::{AttemptState, BookingStatus, CancelReason, FindingKind, PaymentStatus, RefundReason, RefundState},
};
