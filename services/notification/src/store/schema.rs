//! Collections, validators and indexes.

use bson::{Document, doc};
use futures::TryStreamExt;
use mongodb::{Database, IndexModel, error::Result, options::IndexOptions};
use platform::mongo::sessions;

use crate::domain::NotificationType;

pub(super) async fn migrate(database: &Database) -> Result<()> {
    ensure_collection(database, "notifications", notification_validator()).await?;
    ensure_collection(database, "counters", counter_validator()).await?;
    let unique = IndexOptions::builder().name("user_id_seq".to_owned()).unique(true).build();
    let by_seq = IndexModel::builder().keys(doc! { "user_id": 1, "seq": 1 }).options(unique).build();
    let name = IndexOptions::builder().name("user_id_read_at_seq".to_owned()).build();
    let unread = IndexModel::builder().keys(doc! { "user_id": 1, "read_at": 1, "seq": 1 }).options(name).build();
    database.collection::<Document>("notifications").create_indexes([by_seq, unread]).await?;
    let deleted = IndexOptions::builder()
        .name("deleted_unread".to_owned())
        .partial_filter_expression(doc! { "deleted_at": { "$exists": true } })
        .build();
    let deleted = IndexModel::builder().keys(doc! { "unread": 1 }).options(deleted).build();
    database.collection::<Document>("counters").create_index(deleted).await?;
    sessions::create_indexes(database).await
}

/// Creates the collection, or updates its validator if it differs: `collMod` needs more privileges than `create`.
async fn ensure_collection(database: &Database, name: &str, validator: Document) -> Result<()> {
    let existing = database.list_collections().filter(doc! { "name": name }).await?.try_next().await?;
    match existing {
        None => database.create_collection(name).validator(validator).await,
        Some(collection) if collection.options.validator.as_ref() == Some(&validator) => Ok(()),
        Some(_) => database.run_command(doc! { "collMod": name, "validator": validator }).await.map(drop),
    }
}

fn notification_validator() -> Document {
    let types: Vec<_> = NotificationType::ALL.iter().map(|kind| kind.as_str()).collect();
    doc! { "$jsonSchema": {
        "bsonType": "object",
        "required": [
            "_id", "user_id", "seq", "type", "booking_id", "event_id", "title", "body", "read_at", "created_at",
        ],
        "properties": {
            "_id": { "bsonType": "string" },
            "user_id": { "bsonType": "int" },
            "seq": { "bsonType": "long", "minimum": 1 },
            "type": { "enum": types },
            "booking_id": { "bsonType": "int" },
            "event_id": { "bsonType": "string" },
            "title": { "bsonType": "string" },
            "body": { "bsonType": "string" },
            "translations": { "bsonType": "object" },
            "read_at": { "bsonType": ["date", "null"] },
            "created_at": { "bsonType": "date" },
        },
    } }
}

fn counter_validator() -> Document {
    doc! { "$jsonSchema": {
        "bsonType": "object",
        "required": ["_id", "last_seq", "unread"],
        "properties": {
            "_id": { "bsonType": "int" },
            "last_seq": { "bsonType": "long", "minimum": 0 },
            "unread": { "bsonType": "long", "minimum": 0 },
            "deleted_at": { "bsonType": "date" },
        },
    } }
}
