//! The schema, and the service during an outage of its database.

use bson::{Document, doc};
use futures::TryStreamExt;
use serde_json::json;
use uuid::Uuid;

use crate::helpers::TestApp;

async fn schema(app: &TestApp) -> Vec<Document> {
    let mut schema = Vec::new();
    for name in ["events", "reservations", "outbox"] {
        let found = app.database.list_collections().filter(doc! { "name": name }).await.unwrap();
        let found: Vec<_> = found.try_collect().await.unwrap();
        schema.push(found[0].options.validator.clone().unwrap());
        let indexes = app.database.collection::<Document>(name).list_indexes().await.unwrap();
        let indexes: Vec<_> = indexes.try_collect().await.unwrap();
        schema.extend(indexes.into_iter().map(|index| index.keys));
    }
    schema
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_twice_changes_nothing_and_updates_an_old_validator() {
    let app = TestApp::start().await;
    let once = schema(&app).await;

    let old = doc! { "collMod": "events", "validator": {} };
    app.database.run_command(old).await.unwrap();
    app.app.state.store.migrate().await.unwrap();
    app.app.state.store.migrate().await.unwrap();

    assert_eq!(schema(&app).await, once);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_every_request_gets_503() {
    let app = TestApp::on("mongodb://127.0.0.1:1/?directConnection=true", "none", &[]).await;
    let new = app.concert(&json!({}));

    let (list, read, create, hold, ready) = tokio::join!(
        app.get("/api/events").send(),
        app.get("/api/events/some").send(),
        app.post("/api/events", &new).bearer(&app.organizer()).header("idempotency-key", "k").send(),
        app.holds("some", Uuid::new_v4(), 1),
        app.app.state.store.ping(),
    );

    for answer in [list, read, create, hold] {
        answer.assert_refused(503, "database_unavailable");
    }
    assert!(ready.is_err());
}
