//! Collections, validators and indexes.

use bson::{Document, doc};
use mongodb::{Database, error::Result, options::IndexOptions};
use platform::mongo::{ensure_collection, index, index_with, sessions};
use strum::VariantArray;

use crate::domain::NotificationType;

pub(super) async fn migrate(database: &Database) -> Result<()> {
    let unique = IndexOptions::builder().unique(true).build();
    let notifications = [
        index_with("user_id_seq", doc! { "user_id": 1, "seq": 1 }, unique),
        index("user_id_read_at_seq", doc! { "user_id": 1, "read_at": 1, "seq": 1 }),
    ];
    let deleted = IndexOptions::builder().partial_filter_expression(doc! { "deleted_at": { "$exists": true } }).build();
    let counters = [index_with("deleted_unread", doc! { "unread": 1 }, deleted)];
    ensure_collection(database, "notifications", notification_validator(), notifications).await?;
    ensure_collection(database, "counters", counter_validator(), counters).await?;
    sessions::create_indexes(database).await
}

fn notification_validator() -> Document {
    let types: Vec<_> = NotificationType::VARIANTS.iter().map(NotificationType::into_str).collect();
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
