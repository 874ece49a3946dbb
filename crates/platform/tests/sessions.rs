//! What other replicas know of the sessions of one: on a real MongoDB.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::time::Duration;

use bson::{Document, doc};
use futures::future::join_all;
use mongodb::Database;
use platform::{Lifecycle, config::Secret, mongo::sessions::Sessions};
use uuid::Uuid;

async fn database() -> Database {
    let url = std::env::var("TEST_MONGODB_URL").expect("run the tests by `make test`");
    let name = format!("sessions_{}", Uuid::new_v4().simple());
    platform::mongo::database(&Secret::new(url), "test", &name).await.unwrap()
}

/// The sessions that are written down for the only replica.
async fn known(database: &Database) -> Vec<Document> {
    let replica = database.collection::<Document>("replicas").find_one(doc! {}).await.unwrap().unwrap();
    let sessions = replica.get_array("sessions").unwrap();
    sessions.iter().map(|session| session.as_document().unwrap().clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_taken_at_once_are_all_known_to_the_others() {
    let database = database().await;
    let sessions = Sessions::new(database.clone());

    let taken = join_all((0..20).map(|_| sessions.acquire())).await;

    let known = known(&database).await;
    assert_eq!(known.len(), 20);
    for session in taken {
        let session = session.unwrap();
        assert!(known.contains(session.id()), "{:?} is not among {known:?}", session.id());
        sessions.release(session);
    }
    database.drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_left_open_that_was_given_up_is_ended_and_the_session_stays_known() {
    let database = database().await;
    let things = database.collection::<Document>("things");
    things.insert_one(doc! { "_id": 1 }).await.unwrap();
    let sessions = Sessions::new(database.clone());
    let mut session = sessions.acquire().await.unwrap();
    session.start_transaction().await.unwrap();
    things.update_one(doc! {}, doc! { "$set": { "by": "it" } }).session(&mut session).await.unwrap();
    let id = session.id().clone();
    sessions.abandon(session);

    let lifecycle = Lifecycle::new();
    sessions.start_heartbeat(&lifecycle);
    let written = async {
        while things.update_one(doc! {}, doc! { "$set": { "by": "others" } }).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written).await.unwrap();

    assert_eq!(things.find_one(doc! {}).await.unwrap().unwrap().get_str("by").unwrap(), "others");
    assert_eq!(known(&database).await, [id]);
    lifecycle.stop();
    lifecycle.finish_tasks(Duration::from_secs(20)).await;
    database.drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_rests_is_forgotten_and_announces_its_session_before_the_next_transaction() {
    let (database, lifecycle) = (database().await, Lifecycle::new());
    let [resting, busy] = [(); 2].map(|()| Sessions::new(database.clone()));
    for sessions in [&resting, &busy] {
        sessions.start_heartbeat(&lifecycle);
    }
    let replicas = database.collection::<Document>("replicas");
    let session = resting.acquire().await.unwrap();
    let id = session.id().clone();
    resting.release(session);
    let running = busy.acquire().await.unwrap();

    let forgotten = async {
        while replicas.count_documents(doc! {}).await.unwrap() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), forgotten).await.unwrap();
    assert_eq!(known(&database).await, [running.id().clone()]);
    let again = resting.acquire().await.unwrap();

    assert_eq!(*again.id(), id);
    assert_eq!(replicas.count_documents(doc! { "sessions": id }).await.unwrap(), 1);
    resting.release(again);
    busy.release(running);
    lifecycle.stop();
    lifecycle.finish_tasks(Duration::from_secs(20)).await;
    database.drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_given_up_is_taken_again_once_it_was_ended() {
    let database = database().await;
    let sessions = Sessions::new(database.clone());
    let given_up = sessions.acquire().await.unwrap();
    let id = given_up.id().clone();
    sessions.abandon(given_up);
    let other = sessions.acquire().await.unwrap();
    assert_ne!(*other.id(), id, "it may still be open");
    sessions.release(other);

    let lifecycle = Lifecycle::new();
    sessions.start_heartbeat(&lifecycle);
    let taken_again = async {
        loop {
            let (one, other) = (sessions.acquire().await.unwrap(), sessions.acquire().await.unwrap());
            let found = [&one, &other].iter().any(|session| *session.id() == id);
            sessions.release(one);
            sessions.release(other);
            if found {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), taken_again).await.unwrap();

    assert!(known(&database).await.len() <= 3, "no more than were needed at once, and the one that was given up");
    lifecycle.stop();
    lifecycle.finish_tasks(Duration::from_secs(20)).await;
    database.drop().await.unwrap();
}
