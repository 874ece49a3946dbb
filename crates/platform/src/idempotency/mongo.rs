//! Records in the collection `idempotency_keys`, whose `_id` is the scope; a TTL index deletes them.

use bson::{Binary, DateTime, Document, doc, spec::BinarySubtype};
use chrono::TimeDelta;
use mongodb::{Collection, Database, IndexModel, options::IndexOptions};
use uuid::Uuid;

use super::{Claim, IdempotencyStore, LEASE, RETENTION, Scope, StoredAnswer};
use crate::{ApiResult, Clock, mongo::is_duplicate_key};

/// Records in MongoDB.
#[derive(Clone, Debug)]
pub struct MongoIdempotency {
    records: Collection<Document>,
    clock: Clock,
}

impl MongoIdempotency {
    /// Records in that database.
    pub fn new(database: &Database, clock: Clock) -> Self {
        Self { records: database.collection("idempotency_keys"), clock }
    }

    /// Creates the TTL index.
    pub async fn create_indexes(&self) -> mongodb::error::Result<()> {
        let options = IndexOptions::builder().expire_after(RETENTION).build();
        let index = IndexModel::builder().keys(doc! { "created_at": 1 }).options(options).build();
        self.records.create_index(index).await.map(drop)
    }

    fn lease_until(&self) -> DateTime {
        let lease = TimeDelta::from_std(LEASE).unwrap_or_default();
        DateTime::from_chrono(self.clock.now() + lease)
    }
}

fn id(scope: &Scope) -> Document {
    doc! { "user_id": scope.user_id, "method": &scope.method, "path": &scope.path, "key": &scope.key }
}

fn headers(record: &Document) -> Vec<String> {
    let lines = record.get_array("headers").into_iter().flatten();
    lines.filter_map(|line| line.as_str().map(str::to_owned)).collect()
}

fn binary(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

impl IdempotencyStore for MongoIdempotency {
    async fn claim(&self, scope: &Scope, token: Uuid) -> ApiResult<Claim> {
        let operation_id = Uuid::new_v4();
        let now = DateTime::from_chrono(self.clock.now());
        let record = doc! {
            "_id": id(scope), "fingerprint": binary(&scope.fingerprint), "operation_id": operation_id.to_string(),
            "lease_token": token.to_string(), "lease_until": self.lease_until(), "created_at": now,
        };
        match self.records.insert_one(record).await {
            Ok(_) => return Ok(Claim::Acquired(operation_id)),
            Err(error) if is_duplicate_key(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let expired = doc! {
            "_id": id(scope), "status": { "$exists": false }, "lease_until": { "$lt": now },
            "fingerprint": binary(&scope.fingerprint),
        };
        let lease = doc! { "$set": { "lease_token": token.to_string(), "lease_until": self.lease_until() } };
        if let Some(record) = self.records.find_one_and_update(expired, lease).await?
            && let Some(operation_id) = record.get_str("operation_id").ok().and_then(|id| id.parse().ok())
        {
            return Ok(Claim::Acquired(operation_id));
        }
        let Some(record) = self.records.find_one(doc! { "_id": id(scope) }).await? else {
            return Ok(Claim::InProgress);
        };
        if record.get_binary_generic("fingerprint").ok() != Some(&scope.fingerprint) {
            return Ok(Claim::KeyReused);
        }
        Ok(match (record.get_i32("status"), record.get_binary_generic("body")) {
            (Ok(status), Ok(body)) => Claim::Completed(StoredAnswer {
                status: u16::try_from(status).unwrap_or(500),
                headers: headers(&record),
                body: body.clone(),
            }),
            _ => Claim::InProgress,
        })
    }

    async fn renew(&self, scope: &Scope, token: Uuid) -> ApiResult<()> {
        let claimed = doc! { "_id": id(scope), "lease_token": token.to_string() };
        self.records.update_one(claimed, doc! { "$set": { "lease_until": self.lease_until() } }).await?;
        Ok(())
    }

    async fn finish(&self, scope: &Scope, token: Uuid, answer: Option<&StoredAnswer>) -> ApiResult<()> {
        let claimed = doc! { "_id": id(scope), "lease_token": token.to_string() };
        let update = match answer {
            Some(answer) => doc! {
                "$set": {
                    "status": i32::from(answer.status), "headers": &answer.headers, "body": binary(&answer.body),
                },
                "$unset": { "lease_token": "" },
            },
            // In the past, so that a retry acquires the record at once.
            None => doc! { "$set": { "lease_until": DateTime::from_millis(0) }, "$unset": { "lease_token": "" } },
        };
        self.records.update_one(claimed, update).await?;
        Ok(())
    }
}
