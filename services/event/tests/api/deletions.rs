//! Deleted accounts: their events are cancelled, and they create and publish none any more.

use std::time::Duration;

use bson::{DateTime, Document, doc};
use chrono::TimeDelta;
use contracts::{
    identity::Role,
    message::{Message, UserFact},
};
use event_service::loops::{consumer, sweeper};
use futures::TryStreamExt;
use platform::{
    bus::{Bus, Publisher, Received},
    config::Secret,
    outbox::OutboxMessage,
};
use serde_json::json;
use uuid::Uuid;

use crate::helpers::{ORGANIZER, TestApp, server, text, wait_until};

impl TestApp {
    fn account_deleted(&self, user_id: i32) -> Message {
        Message::UserDeleted(UserFact { user_id, occurred_at: self.clock.now() })
    }

    /// Consumes the message that this user's account was deleted.
    async fn deletes_account(&self, user_id: i32) {
        let received = Received { id: Uuid::new_v4(), message: self.account_deleted(user_id) };
        consumer::handle(&self.app.state, received).await.unwrap();
    }

    /// One round of the sweeper on this replica; returns how many deletions were due.
    async fn sweeps(&self) -> usize {
        sweeper::cancel_events_of_deleted_accounts(&self.app.state).await.unwrap()
    }

    async fn updates(&self, collection: &str, set: Document) {
        self.database.collection::<Document>(collection).update_many(doc! {}, doc! { "$set": set }).await.unwrap();
    }

    /// Lets the time pass in which requests from before the deletion may still arrive.
    async fn requests_from_before_are_over(&self) {
        let before = DateTime::from(self.clock.now() - TimeDelta::seconds(121));
        self.updates("deleted_accounts", doc! { "received_at": before, "due_at": before }).await;
    }

    async fn status(&self, event_id: &str) -> String {
        let answer = self.get(&format!("/api/events/{event_id}")).bearer(&self.token(1, Role::Admin)).send().await;
        answer.body["status"].as_str().unwrap_or("none").to_owned()
    }

    /// The ids of the events in messages that they are cancelled.
    async fn cancellations(&self) -> Vec<String> {
        let outbox = self.database.collection::<Document>("outbox");
        let rows = outbox.find(doc! { "message.type": "event.cancelled" }).await.unwrap();
        let rows: Vec<_> = rows.try_collect().await.unwrap();
        let id = |row: &Document| row.get_document("message").unwrap().get_str("event_id").unwrap().to_owned();
        rows.iter().map(id).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_cancels_the_events_that_have_not_ended_and_tells_their_holders() {
    let app = TestApp::start().await;
    let over = app.sells(10).await;
    app.updates("events", doc! { "ends_at": DateTime::from(app.clock.now() - TimeDelta::hours(1)) }).await;
    let (sold, unsold) = (app.sells(10).await, app.sells(10).await);
    let draft = text(&app.creates(&json!({ "status": "draft" })).await["id"]);
    let new = app.concert(&json!({}));
    let theirs = app.post("/api/events", &new).bearer(&app.token(8, Role::Organizer)).send().await;
    let reservation = Uuid::new_v4();
    app.holds(&sold, reservation, 2).await.assert_ok();
    app.confirms(&sold, reservation).await.assert_ok();

    app.deletes_account(ORGANIZER).await;
    app.sweeps().await;

    assert_eq!((app.status(&sold).await, app.status(&unsold).await), ("cancelled".into(), "cancelled".into()));
    assert_eq!((app.status(&draft).await, app.status(&over).await), ("none".into(), "published".into()));
    assert_eq!(app.status(&text(&theirs.body["id"])).await, "published");
    assert_eq!(app.cancellations().await.len(), 2);
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivered_message_and_a_second_replica_cancel_nothing_twice() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let id = app.sells(10).await;
    app.deletes_account(ORGANIZER).await;

    let rounds = tokio::join!(app.sweeps(), replica.sweeps());
    let cancelled = app.event(&id).await;
    app.deletes_account(ORGANIZER).await;
    let again = app.sweeps().await;

    assert!(rounds.0 + rounds.1 > 0);
    assert_eq!(again, 0, "the deletion is due in two minutes");
    assert_eq!((app.event(&id).await, app.cancellations().await), (cancelled, vec![id]));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweeper_learns_when_the_next_deletion_is_due() {
    let app = TestApp::start().await;
    let store = &app.app.state.store;
    assert_eq!(store.until_first_account_deletion().await.unwrap(), None);

    app.deletes_account(ORGANIZER).await;
    assert_eq!(store.until_first_account_deletion().await.unwrap(), Some(Duration::ZERO));
    app.sweeps().await;
    let recheck = store.until_first_account_deletion().await.unwrap().unwrap();
    assert!(recheck > Duration::from_secs(60) && recheck <= Duration::from_secs(120), "{recheck:?}");
    app.requests_from_before_are_over().await;
    app.sweeps().await;

    assert_eq!(store.until_first_account_deletion().await.unwrap(), None, "it is finished");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_an_older_replica_creates_after_the_message_is_cancelled_too() {
    let app = TestApp::start().await;
    app.deletes_account(ORGANIZER).await;
    app.sweeps().await;
    let other = app.token(8, Role::Organizer);
    let created = app.post("/api/events", &app.concert(&json!({}))).bearer(&other).send().await;
    app.updates("events", doc! { "organizer_id": ORGANIZER }).await;

    app.requests_from_before_are_over().await;
    let due = app.sweeps().await;

    assert_eq!((due, app.sweeps().await), (1, 0));
    assert_eq!(app.status(&text(&created.body["id"])).await, "cancelled");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_creates_and_publishes_no_events() {
    let app = TestApp::start().await;
    let draft = text(&app.creates(&json!({ "status": "draft" })).await["id"]);
    let (path, publish) = (format!("/api/events/{draft}"), json!({ "status": "published" }));
    let new = app.concert(&json!({}));
    app.deletes_account(ORGANIZER).await;

    let create = app.post("/api/events", &new).bearer(&app.organizer()).send().await;
    let organizer = app.patch(&path, &publish).bearer(&app.organizer()).send().await;
    let admin = app.patch(&path, &publish).bearer(&app.token(1, Role::Admin)).send().await;
    let other = app.post("/api/events", &new).bearer(&app.token(8, Role::Organizer)).send().await;

    for refused in [create, organizer, admin] {
        refused.assert_refused(403, "organizer_deleted");
    }
    assert_eq!((other.status.as_u16(), app.status(&draft).await), (201, "draft".to_owned()));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_arrive_through_a_queue_of_their_own() {
    let app = TestApp::start().await;
    let bus = Bus::new(&Secret::new(server("TEST_AMQP_URL")), "test").unwrap();
    consumer::start(&app.app.lifecycle, &app.app.state, &bus);
    let (message, created_at) = (app.account_deleted(ORGANIZER), app.clock.now());
    let row = OutboxMessage { id: Uuid::new_v4(), message, traceparent: None, created_at };

    Publisher::new(bus).publish_all(&[row.into()]).await.remove(0).unwrap();

    wait_until("the deletion is stored", async || app.app.state.store.is_account_deleted(ORGANIZER).await.unwrap())
        .await;
    app.end().await;
}
