//! Deletion of accounts.

use bson::{Document, doc};
use contracts::message::{BookingFact, Message, UserFact};
use futures::TryStreamExt;
use uuid::Uuid;

use crate::helpers::{TestApp, booking, noon};

const TITLE: &str = "Lantern Walk";

/// A booking whose notification contains [`TITLE`].
fn titled(user_id: i32, booking_id: i32) -> BookingFact {
    BookingFact { event_title: TITLE.to_owned(), ..booking(user_id, booking_id) }
}

fn deletion(user_id: i32) -> Message {
    Message::UserDeleted(UserFact { user_id, occurred_at: noon() })
}

impl TestApp {
    async fn confirms(&self, fact: BookingFact) {
        self.handles(Uuid::new_v4(), Message::BookingConfirmed(fact)).await.unwrap();
    }

    async fn deletes(&self, user_id: i32) {
        self.handles(Uuid::new_v4(), deletion(user_id)).await.unwrap();
    }

    async fn unread(&self, user_id: i32) -> i64 {
        self.state.store.find_counters(user_id).await.unwrap().unread
    }

    /// All documents of all collections, as text.
    async fn dump(&self) -> String {
        let mut dump = String::new();
        for name in self.database.list_collection_names().await.unwrap() {
            let documents = self.database.collection::<Document>(&name).find(doc! {}).await.unwrap();
            for document in documents.try_collect::<Vec<_>>().await.unwrap() {
                dump.push_str(&document.to_string());
            }
        }
        dump
    }
}

#[tokio::test]
async fn a_deletion_removes_all_notifications_of_the_account_and_no_others() {
    let app = TestApp::start().await;
    app.confirms(titled(1, 1)).await;
    app.confirms(titled(1, 2)).await;
    app.confirms(booking(2, 3)).await;
    assert!(app.dump().await.contains(TITLE));

    app.deletes(1).await;

    assert_eq!(app.listed(1).await, Vec::<i64>::new());
    assert_eq!(app.unread(1).await, 0);
    assert_eq!(app.listed(2).await, [3]);
    assert_eq!(app.unread(2).await, 1);
    assert!(!app.dump().await.contains(TITLE));
    app.end().await;
}

#[tokio::test]
async fn later_messages_for_a_deleted_account_are_acknowledged_and_not_stored() {
    let app = TestApp::start().await;
    let id = app.confirms_booking(1, 1).await;
    app.deletes(1).await;

    app.confirms(titled(1, 2)).await;
    // Redelivers a message from before the deletion.
    app.handles(id, Message::BookingConfirmed(titled(1, 1))).await.unwrap();

    assert_eq!(app.listed(1).await, Vec::<i64>::new());
    assert_eq!(app.unread(1).await, 0);
    assert!(!app.dump().await.contains(TITLE));
    app.end().await;
}

#[tokio::test]
async fn an_account_without_notifications_is_deleted_too() {
    let app = TestApp::start().await;
    app.deletes(1).await;

    app.confirms(titled(1, 1)).await;

    assert_eq!(app.listed(1).await, Vec::<i64>::new());
    app.end().await;
}

#[tokio::test]
async fn the_same_deletion_again_changes_nothing() {
    let app = TestApp::start().await;
    app.confirms(titled(1, 1)).await;
    let id = Uuid::new_v4();
    app.handles(id, deletion(1)).await.unwrap();
    let before = app.dump().await;

    app.handles(id, deletion(1)).await.unwrap();

    assert_eq!(app.dump().await, before);
    app.end().await;
}

#[tokio::test]
async fn messages_that_race_with_a_deletion_leave_no_notifications() {
    let app = TestApp::start().await;
    app.confirms(titled(1, 1)).await;
    let confirming = futures::future::join_all((2..=9).map(|booking_id| app.confirms(titled(1, booking_id))));

    futures::join!(confirming, app.deletes(1));

    assert_eq!(app.listed(1).await, Vec::<i64>::new());
    assert_eq!(app.unread(1).await, 0);
    app.end().await;
}

#[tokio::test]
async fn notifications_that_an_older_replica_stores_for_a_deleted_account_are_purged() {
    let app = TestApp::start().await;
    let stored = app.database.collection::<Document>("notifications");
    app.confirms(titled(1, 1)).await;
    let notification = stored.find_one(doc! { "user_id": 1 }).await.unwrap().unwrap();
    app.deletes(1).await;
    let increment = doc! { "$inc": { "last_seq": 1_i64, "unread": 1_i64 } };
    app.database.collection::<Document>("counters").update_one(doc! { "_id": 1 }, increment).await.unwrap();
    stored.insert_one(notification).await.unwrap();
    app.confirms(booking(2, 2)).await;

    app.state.store.purge_deleted_accounts().await.unwrap();

    assert_eq!(app.listed(1).await, Vec::<i64>::new());
    assert_eq!(app.unread(1).await, 0);
    assert_eq!(app.listed(2).await, [2]);
    app.end().await;
}
