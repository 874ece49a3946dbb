//! The open event streams of this replica.
//!
//! - [`Hub`]: the subscriptions of all streams, and how they learn of new notifications
//! - [`Feed`]: the task of one stream, which reads new notifications from the database

mod feed;
mod hub;

pub use self::{
    feed::{BUFFER_SIZE, Connection, EndReason, Feed, StreamEvent},
    hub::{Hub, MAX_STREAMS_PER_USER, Subscription},
};
