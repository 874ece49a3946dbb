//! What an event is, which changes of it are allowed, and how a batch of operations is applied. Pure: takes `now`.
//!
//! - [`details`] and [`event`]: the entities; `validate`: the rules for their fields; [`price`]: which can be charged
//! - [`reservation`]: seats that are held or sold; `user_seats`: how many of them one user may have
//! - [`edit`]: changes by the organizer; [`notification`]: which of them holders are notified of, and when
//! - [`batch`]: operations on one event, applied one after the other
//! - [`search`]: the words that events are found by; [`time_zone`]: names of time zones

pub mod batch;
pub mod details;
pub mod edit;
pub mod event;
pub mod notification;
pub mod price;
pub mod refusal;
pub mod reservation;
pub mod search;
pub mod time_zone;
mod user_seats;
mod validate;

pub use self::{
    details::Details,
    edit::EventPatch,
    event::{Event, EventStatus},
    notification::{NotifiedDetails, PendingNotification},
    refusal::Refusal,
    reservation::Reservation,
    validate::is_supported_instant,
};
