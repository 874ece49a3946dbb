//! Writes to several collections in one command, where the server has it.

use std::sync::Arc;

use bson::{Document, doc};
use mongodb::{
    ClientSession, Collection, Database, Namespace,
    error::{Error, Result},
    options::WriteModel,
};
use tokio::sync::OnceCell;

/// The wire version of MongoDB 8.0, the first with the command `bulkWrite`.
const MIN_WIRE_VERSION: i32 = 25;

/// Writes of one database. Cheap to clone.
#[derive(Clone)]
pub(super) struct BulkWriter {
    database: Database,
    /// Whether the server has `bulkWrite`; asked once.
    supported: Arc<OnceCell<bool>>,
}

impl BulkWriter {
    pub(super) fn new(database: Database) -> Self {
        Self { database, supported: Arc::default() }
    }

    /// A writer for servers without `bulkWrite`.
    pub(super) fn one_by_one(database: Database) -> Self {
        Self { database, supported: Arc::new(OnceCell::new_with(Some(false))) }
    }

    /// Does all writes in the transaction of `session`, in one command or one each. Returns how many documents the
    /// updates and deletions matched.
    pub(super) async fn write(&self, session: &mut ClientSession, writes: Vec<WriteModel>) -> Result<i64> {
        if *self.supported.get_or_try_init(|| self.probe()).await? {
            let written = self.database.client().bulk_write(writes).session(session).await?;
            return Ok(written.matched_count + written.deleted_count);
        }
        let mut matched = 0;
        for write in writes {
            matched += self.write_one(session, write).await?;
        }
        i64::try_from(matched).map_err(Error::custom)
    }

    async fn write_one(&self, session: &mut ClientSession, write: WriteModel) -> Result<u64> {
        match write {
            WriteModel::InsertOne(insert) => {
                self.collection(&insert.namespace).insert_one(insert.document).session(session).await?;
                Ok(0)
            }
            WriteModel::UpdateOne(update) => {
                let collection = self.collection(&update.namespace);
                let updated = collection.update_one(update.filter, update.update).session(session).await?;
                Ok(updated.matched_count)
            }
            WriteModel::DeleteOne(delete) => {
                let deleted = self.collection(&delete.namespace).delete_one(delete.filter).session(session).await?;
                Ok(deleted.deleted_count)
            }
            other => Err(Error::custom(format!("no such write: {other:?}"))),
        }
    }

    fn collection(&self, namespace: &Namespace) -> Collection<Document> {
        self.database.collection(&namespace.coll)
    }

    async fn probe(&self) -> Result<bool> {
        let hello = self.database.run_command(doc! { "hello": 1 }).await?;
        Ok(hello.get_i32("maxWireVersion").is_ok_and(|version| version >= MIN_WIRE_VERSION))
    }
}
