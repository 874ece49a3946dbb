//! Transactions and collections on a real MongoDB.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bson::{Document, doc};
use futures::{FutureExt, future::join_all};
use mongodb::{ClientSession, Collection, Database, options::IndexOptions};
use platform::{
    config::Secret,
    mongo::{
        ensure_collection, index, index_with,
        sessions::Sessions,
        transaction::{TransactionFailure, WorkFailure, transaction},
    },
};
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(20);

async fn database() -> Database {
    let url = std::env::var("TEST_MONGODB_URL").expect("TEST_MONGODB_URL is not set; run: make test");
    let name = format!("mongo_{}", Uuid::new_v4().simple());
    platform::mongo::database(&Secret::new(url), "test", &name).await.unwrap()
}

/// Reads the number, and writes its successor.
async fn increment(numbers: &Collection<Document>, session: &mut ClientSession) -> Result<i32, WorkFailure> {
    let found = numbers.find_one(doc! { "_id": 1 }).session(&mut *session).await?;
    let next = found.unwrap().get_i32("number").unwrap() + 1;
    numbers.update_one(doc! { "_id": 1 }, doc! { "$set": { "number": next } }).session(session).await?;
    Ok(next)
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_conflict_all_commit_one_after_the_other() {
    let database = database().await;
    let numbers = database.collection::<Document>("numbers");
    numbers.insert_one(doc! { "_id": 1, "number": 0 }).await.unwrap();
    let sessions = Sessions::new(database.clone());

    // In tasks, as the services run them: the future of a transaction is `Send`.
    let all = (0..10).map(|_| {
        let (sessions, numbers) = (sessions.clone(), numbers.clone());
        tokio::spawn(async move {
            transaction(&sessions, LIMIT, &numbers, |session, numbers| increment(numbers, session).boxed()).await
        })
    });
    let mut results: Vec<i32> = join_all(all).await.into_iter().map(|result| result.unwrap().unwrap()).collect();

    results.sort_unstable();
    assert_eq!(results, (1..=10).collect::<Vec<_>>());
    database.drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_failed_leaves_nothing_behind_and_is_not_retried() {
    let database = database().await;
    database.create_collection("things").await.unwrap();
    let things = database.collection::<Document>("things");
    let (sessions, attempts) = (Sessions::new(database.clone()), AtomicU32::new(0));

    let result = transaction(&sessions, LIMIT, &things, |session, things| {
        attempts.fetch_add(1, Ordering::SeqCst);
        async move {
            things.insert_one(doc! { "_id": 1 }).session(session).await?;
            Err::<(), _>(WorkFailure::from(mongodb::error::Error::custom("wrong")))
        }
        .boxed()
    });

    assert!(matches!(result.await, Err(TransactionFailure::NotCommitted(_))));
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
    assert_eq!(things.count_documents(doc! {}).await.unwrap(), 0);
    database.drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_that_the_work_noticed_is_retried_until_the_limit() {
    let database = database().await;
    let (sessions, attempts) = (Sessions::new(database.clone()), AtomicU32::new(0));

    let result = transaction(&sessions, Duration::from_millis(300), (), |_, ()| {
        attempts.fetch_add(1, Ordering::SeqCst);
        async { Err::<(), _>(WorkFailure::conflict("never as it was read")) }.boxed()
    });

    assert!(matches!(result.await, Err(TransactionFailure::NotCommitted(_))));
    assert!(attempts.load(Ordering::SeqCst) > 1);
    database.drop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_created_and_later_brought_up_to_date() {
    let database = database().await;
    let requires = |field: &str| doc! { "$jsonSchema": { "bsonType": "object", "required": [field] } };
    let unique = || index_with("code", doc! { "code": 1 }, IndexOptions::builder().unique(true).build());
    let things = database.collection::<Document>("things");

    ensure_collection(&database, "things", requires("code"), []).await.unwrap();
    things.insert_one(doc! { "name": "one" }).await.unwrap_err();
    for _ in 0..2 {
        let indexes = [unique(), index("name", doc! { "name": 1 })];
        ensure_collection(&database, "things", requires("name"), indexes).await.unwrap();
    }

    things.insert_one(doc! { "name": "one", "code": 1 }).await.unwrap();
    things.insert_one(doc! { "name": "two", "code": 1 }).await.unwrap_err();
    let mut names: Vec<String> = things.list_index_names().await.unwrap();
    names.sort_unstable();
    assert_eq!(names, ["_id_", "code", "name"]);
    database.drop().await.unwrap();
}
