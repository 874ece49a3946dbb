//! Entities and rules without I/O.
//!
//! - [`status`]: the states as stored and shown, and the transitions between them
//! - [`booking`]: a booking, its state changes, and the rules for paying and cancelling it
//! - [`payment`]: payment attempts, refunds, and what clients see of them
//! - [`charge`]: charges as the payment gateway reports them
//! - [`reconciliation`]: comparison of our rows with event-service, the gateway and the outbox
//! - [`saga`]: what follows in every state of a booking
//! - [`sales`]: attendees and sales of an event
//! - [`ticket`]: tickets, and the rules at the door; [`door_link`]: links for people who check tickets in

pub mod booking;
pub mod charge;
pub mod door_link;
pub mod payment;
pub mod reconciliation;
pub mod saga;
pub mod sales;
pub mod status;
pub mod ticket;

pub use self::{
    booking::{Booking, CancelRefusal, Change, ForbiddenTransition, NewBooking, PayRefusal, Rejection},
    door_link::{DoorLink, NewDoorLink},
    payment::{Payment, PaymentPhase, Refund},
    sales::{Attendee, DaySales, EventSales},
    status::{AttemptState, BookingStatus, CancelReason, FindingKind, PaymentStatus, RefundReason, RefundState},
    ticket::{CheckInRefusal, RenameRefusal, Scan, Ticket, TicketState},
};
