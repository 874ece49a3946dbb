//! The documents of MongoDB.

use bson::DateTime as BsonDateTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{Counters, NewNotification, Notification, NotificationType, Text, Texts};

/// A document of `notifications`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct NotificationRecord {
    /// The message's id. It is unique, so a redelivered message cannot be stored twice.
    #[serde(rename = "_id")]
    pub(super) id: String,
    user_id: i32,
    seq: i64,
    #[serde(rename = "type")]
    kind: NotificationType,
    booking_id: i32,
    event_id: String,
    /// English, like `body`. Versions without translations read and write only these two.
    title: String,
    body: String,
    #[serde(default, skip_serializing_if = "Translations::is_empty")]
    translations: Translations,
    read_at: Option<BsonDateTime>,
    created_at: BsonDateTime,
}

/// The texts in languages other than English.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Translations {
    de: Option<TextRecord>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct TextRecord {
    title: String,
    body: String,
}

impl Translations {
    fn is_empty(&self) -> bool {
        self.de.is_none()
    }
}

impl NotificationRecord {
    pub(super) fn new(new: &NewNotification, seq: i64) -> Self {
        Self {
            id: new.id.to_string(),
            user_id: new.user_id,
            seq,
            kind: new.kind,
            booking_id: new.booking_id,
            event_id: new.event_id.clone(),
            title: new.texts.english.title.clone(),
            body: new.texts.english.body.clone(),
            translations: Translations {
                de: new.texts.german.clone().map(|Text { title, body }| TextRecord { title, body }),
            },
            read_at: None,
            created_at: BsonDateTime::from_chrono(new.created_at),
        }
    }
}

impl From<NotificationRecord> for Notification {
    fn from(record: NotificationRecord) -> Self {
        Self {
            // Only UUIDs are ever inserted.
            id: Uuid::try_parse(&record.id).unwrap_or_default(),
            user_id: record.user_id,
            seq: record.seq,
            kind: record.kind,
            booking_id: record.booking_id,
            event_id: record.event_id,
            texts: Texts {
                english: Text { title: record.title, body: record.body },
                german: record.translations.de.map(|TextRecord { title, body }| Text { title, body }),
            },
            read_at: record.read_at.map(BsonDateTime::to_chrono),
            created_at: record.created_at.to_chrono(),
        }
    }
}

/// A document of `counters`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct CounterRecord {
    #[serde(rename = "_id")]
    pub(super) user_id: i32,
    pub(super) last_seq: i64,
    unread: i64,
    /// When the account was deleted. Older versions ignore it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deleted_at: Option<BsonDateTime>,
}

impl From<CounterRecord> for Counters {
    fn from(record: CounterRecord) -> Self {
        Self { last_seq: record.last_seq, unread: record.unread }
    }
}

/// The change event of an insert.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct InsertEvent {
    #[serde(rename = "fullDocument")]
    pub document: InsertedDocument,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct InsertedDocument {
    pub user_id: i32,
    pub seq: i64,
}
