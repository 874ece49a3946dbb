//! Notifications, and what they say in every language. Pure.

mod language;
mod notification;
mod refusal;
mod texts;

pub use self::{
    language::preferred_language,
    notification::{Counters, InsertOutcome, NewNotification, NotForUsers, Notification, NotificationType},
    refusal::Refusal,
    texts::{Text, Texts},
};
