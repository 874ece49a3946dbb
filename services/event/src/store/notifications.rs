//! Pending notifications of holders: written with the edit, removed with the message to holders.

use std::time::Duration;

use bson::{DateTime as BsonDateTime, doc};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use mongodb::{ClientSession, error::Result};
use serde::{Deserialize, Serialize};

use super::{Store, query, until_earliest};
use crate::domain::{NotifiedDetails, PendingNotification};

/// A document of `untold_changes`, the collection of pending notifications. They are not part of the event's document,
/// because older versions replace that as a whole.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct NotificationRecord {
    #[serde(rename = "_id")]
    event_id: String,
    title: String,
    venue: String,
    time_zone: String,
    starts_at: BsonDateTime,
    ends_at: BsonDateTime,
    first_at: BsonDateTime,
    due_at: BsonDateTime,
    edited_version: i64,
    traceparent: Option<String>,
}

impl NotificationRecord {
    fn new(event_id: &str, notification: PendingNotification) -> Self {
        let last_notified = notification.last_notified;
        Self {
            event_id: event_id.to_owned(),
            title: last_notified.title,
            venue: last_notified.venue,
            time_zone: last_notified.time_zone,
            starts_at: last_notified.starts_at.into(),
            ends_at: last_notified.ends_at.into(),
            first_at: notification.first_changed_at.into(),
            due_at: notification.due_at.into(),
            edited_version: notification.edited_version,
            traceparent: notification.traceparent,
        }
    }
}

impl From<NotificationRecord> for PendingNotification {
    fn from(record: NotificationRecord) -> Self {
        Self {
            last_notified: NotifiedDetails {
                title: record.title,
                venue: record.venue,
                time_zone: record.time_zone,
                starts_at: record.starts_at.into(),
                ends_at: record.ends_at.into(),
            },
            first_changed_at: record.first_at.into(),
            due_at: record.due_at.into(),
            edited_version: record.edited_version,
            traceparent: record.traceparent,
        }
    }
}

#[derive(Deserialize)]
struct Due {
    #[serde(rename = "_id")]
    event_id: String,
}

impl Store {
    /// The time until the first notification is due; `None` if there is none.
    pub async fn until_first_notification(&self) -> Result<Option<Duration>> {
        until_earliest(&self.notifications, doc! {}, "due_at").await
    }

    /// The ids of up to `limit` events with a due notification, longest due first.
    pub async fn list_due_notifications(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<String>> {
        let notifications = self.notifications.clone_with_type::<Due>();
        let due = doc! { "due_at": { "$lte": BsonDateTime::from(now) } };
        let rows: Vec<Due> = query(async move {
            let found = notifications.find(due).projection(doc! { "_id": 1 }).sort(doc! { "due_at": 1 });
            found.limit(i64::from(limit)).await?.try_collect().await
        })
        .await?;
        Ok(rows.into_iter().map(|row| row.event_id).collect())
    }

    pub(super) async fn read_pending_notification(
        &self,
        session: &mut ClientSession,
        event_id: &str,
    ) -> Result<Option<PendingNotification>> {
        let found = self.notifications.find_one(doc! { "_id": event_id }).session(session).await?;
        Ok(found.map(Into::into))
    }

    pub(super) async fn write_pending_notification(
        &self,
        session: &mut ClientSession,
        event_id: &str,
        pending: Option<PendingNotification>,
    ) -> Result<()> {
        let of_event = doc! { "_id": event_id };
        match pending {
            Some(notification) => {
                let record = NotificationRecord::new(event_id, notification);
                self.notifications.replace_one(of_event, record).upsert(true).session(session).await.map(drop)
            }
            None => self.notifications.delete_one(of_event).session(session).await.map(drop),
        }
    }
}
