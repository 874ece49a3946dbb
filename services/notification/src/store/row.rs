//! Documents as MongoDB holds them.

use bson::DateTime as BsonDateTime;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::{Counters, NewNotification, Notification, NotificationType},
    texts::{Text, Texts},
};

/// A document of `notifications`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct NotificationRow {
    /// The message's id; its uniqueness is what makes duplicates harmless.
    #[serde(rename = "_id")]
    pub(super) id: String,
    user_id: i32,
    seq: i64,
    #[serde(rename = "type")]
    kind: NotificationType,
    booking_id: i32,
    event_id: String,
    /// English. Versions without translations read and write only this.
    title: String,
    body: String,
    #[serde(default, skip_serializing_if = "Translations::is_empty")]
    translations: Translations,
    read_at: Option<BsonDateTime>,
    created_at: BsonDateTime,
}

/// The texts of a notification in languages other than English.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Translations {
    de: Option<TextRow>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct TextRow {
    title: String,
    body: String,
}

impl Translations {
    fn is_empty(&self) -> bool {
        self.de.is_none()
    }
}

impl NotificationRow {
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
                de: new.texts.german.clone().map(|Text { title, body }| TextRow { title, body }),
            },
            read_at: None,
            created_at: BsonDateTime::from_chrono(new.created_at),
        }
    }
}

impl From<NotificationRow> for Notification {
    fn from(row: NotificationRow) -> Self {
        Self {
            // Only UUIDs are ever inserted.
            id: Uuid::try_parse(&row.id).unwrap_or_default(),
            user_id: row.user_id,
            seq: row.seq,
            kind: row.kind,
            booking_id: row.booking_id,
            event_id: row.event_id,
            texts: Texts {
                english: Text { title: row.title, body: row.body },
                german: row.translations.de.map(|TextRow { title, body }| Text { title, body }),
            },
            read_at: row.read_at.map(BsonDateTime::to_chrono),
            created_at: row.created_at.to_chrono(),
        }
    }
}

/// A document of `counters`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct CounterRow {
    #[serde(rename = "_id")]
    pub(super) user_id: i32,
    last_seq: i64,
    unread: i64,
    /// When the account was deleted. Older versions neither read nor change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deleted_at: Option<BsonDateTime>,
}

impl From<CounterRow> for Counters {
    fn from(row: CounterRow) -> Self {
        Self { last_seq: row.last_seq, unread: row.unread }
    }
}

/// A change event of an insertion, cut down to whom it concerns.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Arrival {
    #[serde(rename = "fullDocument")]
    document: ArrivedDocument,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct ArrivedDocument {
    user_id: i32,
    seq: i64,
}

impl Arrival {
    /// Whose notification it is.
    pub fn user_id(&self) -> i32 {
        self.document.user_id
    }

    /// Its place among theirs.
    pub fn seq(&self) -> i64 {
        self.document.seq
    }
}
