//! Collections, validators and indexes, created or updated by `migrate`.
//!
//! The validators enforce the invariant of the counters a second time: no program can write an event whose counters do
//! not add up.

use bson::{Document, doc};
use mongodb::{
    Database,
    error::{Error, Result},
};
use platform::{
    Clock,
    idempotency::MongoIdempotency,
    mongo::{ensure_collection, index, sessions},
};

/// The wire version of MongoDB 8.0, the first with the command `bulkWrite`.
const MIN_WIRE_VERSION: i32 = 25;

pub(super) async fn migrate(database: &Database) -> Result<()> {
    let hello = database.run_command(doc! { "hello": 1 }).await?;
    if hello.get_i32("maxWireVersion").is_ok_and(|version| version < MIN_WIRE_VERSION) {
        return Err(Error::custom("MongoDB 8.0 or newer is needed"));
    }
    let events = [
        // Lists are sorted by start; every selective filter has an index of its own.
        index("status_starts_at", doc! { "status": 1, "starts_at": 1, "_id": 1 }),
        // Lists leave out past events, and most events are past.
        index("status_ends_at", doc! { "status": 1, "ends_at": 1, "starts_at": 1, "_id": 1 }),
        index("words_starts_at", doc! { "words": 1, "starts_at": 1 }),
        index("category_starts_at", doc! { "category": 1, "starts_at": 1 }),
        index("category_key_starts_at", doc! { "category_key": 1, "starts_at": 1 }),
        // For the events whose search keys are missing or outdated.
        index("keys_version", doc! { "keys_version": 1 }),
        index("organizer_id_starts_at", doc! { "organizer_id": 1, "starts_at": 1, "_id": 1 }),
    ];
    let reservations = [
        // For the sweeper.
        index("state_expires_at", doc! { "state": 1, "expires_at": 1 }),
        // For the ledger check, which reads nothing but the index.
        index("event_id_state_seats", doc! { "event_id": 1, "state": 1, "seats": 1 }),
        // For the seats of one user.
        index("event_id_user_id_state", doc! { "event_id": 1, "user_id": 1, "state": 1 }),
    ];
    let outbox = [
        index("created_at", doc! { "created_at": 1 }),
        // For the relay: rows that were refused come last.
        index("attempts_created_at", doc! { "attempts": 1, "created_at": 1 }),
    ];
    let changes = [index("due_at", doc! { "due_at": 1 })];
    ensure_collection(database, "events", event_validator(), events).await?;
    ensure_collection(database, "reservations", reservation_validator(), reservations).await?;
    ensure_collection(database, "outbox", outbox_validator(), outbox).await?;
    ensure_collection(database, "untold_changes", notification_validator(), changes).await?;
    sessions::create_indexes(database).await?;
    MongoIdempotency::new(database, Clock::system()).create_indexes().await
}

fn event_validator() -> Document {
    let count = doc! { "bsonType": "long", "minimum": 0 };
    let schema = doc! {
        "bsonType": "object",
        "required": [
            "_id", "organizer_id", "status", "title", "description", "venue", "time_zone", "starts_at", "ends_at",
            "price", "currency", "max_seats_per_booking", "capacity", "available", "held", "sold", "ever_sold",
            "version", "words", "created_at", "updated_at",
        ],
        "properties": {
            "_id": { "bsonType": "string" },
            "organizer_id": { "bsonType": "int" },
            "status": { "enum": ["draft", "published", "cancelled"] },
            "title": { "bsonType": "string" },
            "description": { "bsonType": "string" },
            "venue": { "bsonType": "string" },
            "time_zone": { "bsonType": "string" },
            "starts_at": { "bsonType": "date" },
            "ends_at": { "bsonType": "date" },
            "price": &count,
            "currency": { "bsonType": "string" },
            "max_seats_per_booking": { "bsonType": "long", "minimum": 1 },
            "max_seats_per_person": { "bsonType": ["long", "null"], "minimum": 1 },
            "capacity": { "bsonType": "long", "minimum": 1 },
            "available": &count,
            "held": &count,
            "sold": &count,
            "ever_sold": { "bsonType": "bool" },
            "version": { "bsonType": "long", "minimum": 1 },
            "words": { "bsonType": "array", "items": { "bsonType": "string" } },
            "created_at": { "bsonType": "date" },
            "updated_at": { "bsonType": "date" },
        },
    };
    let adds_up = doc! { "$eq": [{ "$add": ["$available", "$held", "$sold"] }, "$capacity"] };
    doc! { "$and": [{ "$jsonSchema": schema }, { "$expr": adds_up }] }
}

fn reservation_validator() -> Document {
    doc! { "$jsonSchema": {
        "bsonType": "object",
        "required": ["_id", "event_id", "seats", "state", "price", "currency", "expires_at", "created_at", "updated_at"],
        "properties": {
            "_id": { "bsonType": "string" },
            "event_id": { "bsonType": "string" },
            "user_id": { "bsonType": "int" },
            "seats": { "bsonType": "long", "minimum": 0 },
            "state": { "enum": ["held", "confirmed", "released"] },
            "price": { "bsonType": "long", "minimum": 0 },
            "currency": { "bsonType": "string" },
            "event_version": { "bsonType": "long" },
            "expires_at": { "bsonType": ["date", "null"] },
            "created_at": { "bsonType": "date" },
            "updated_at": { "bsonType": "date" },
        },
    } }
}

fn notification_validator() -> Document {
    doc! { "$jsonSchema": {
        "bsonType": "object",
        "required": ["_id", "first_at", "due_at", "edited_version"],
        "properties": {
            "_id": { "bsonType": "string" },
            "first_at": { "bsonType": "date" },
            "due_at": { "bsonType": "date" },
            "edited_version": { "bsonType": "long" },
        },
    } }
}

fn outbox_validator() -> Document {
    doc! { "$jsonSchema": {
        "bsonType": "object",
        "required": ["_id", "message", "created_at", "lease_until"],
        "properties": {
            "_id": { "bsonType": "string" },
            "message": { "bsonType": "object" },
            "created_at": { "bsonType": "date" },
            "lease_until": { "bsonType": "date" },
        },
    } }
}
