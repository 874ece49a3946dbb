//! Connections to MongoDB: majority write concern with journal, snapshot transactions, deadlines.

mod collection;
pub mod sessions;
pub mod transaction;

use std::{future::Future, io, time::Duration};

use anyhow::Context;
use bson::doc;
use chrono::{DateTime, Utc};
use mongodb::{
    Client, Database,
    error::{Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR},
    options::{Acknowledgment, ClientOptions, ReadConcern, WriteConcern},
};

pub use self::collection::{ensure_collection, index, index_with};
use crate::config::Secret;

/// The longest time for a client to shut down.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A client of database `name`. It connects at its first use.
pub async fn database(url: &Secret, application: &str, name: &str) -> anyhow::Result<Database> {
    let mut options = ClientOptions::parse(url.expose()).await.context("MONGODB_URL is not a MongoDB URL")?;
    options.app_name = Some(application.to_owned());
    options.connect_timeout = Some(Duration::from_secs(3));
    options.server_selection_timeout = Some(Duration::from_secs(5));
    options.max_pool_size.get_or_insert(32);
    options.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
    options.read_concern = Some(ReadConcern::majority());
    Ok(Client::with_options(options).context("MONGODB_URL cannot be used")?.database(name))
}

/// Shuts down the client of a database, for [`CLOSE_TIMEOUT`] at most. Its tasks must end before the runtime does: while
/// they end they spawn others, which panics without a runtime.
pub async fn close(database: Database) {
    let closing = database.client().clone().shutdown().immediate(true);
    if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
        tracing::debug!("the MongoDB client did not shut down in time");
    }
}

/// Runs database work in a task of its own and waits for it, for `limit` at most. The returned future may be dropped.
///
/// The driver's futures must not be dropped midway, and the driver itself waits forever for a server that stopped
/// answering. After the limit the work continues in the background; its outcome is then unknown, and [`is_unavailable`].
pub async fn bounded<T, F>(limit: Duration, work: F) -> mongodb::error::Result<T>
where
    F: Future<Output = mongodb::error::Result<T>> + Send + 'static,
    T: Send + 'static,
{
    match tokio::time::timeout(limit, crate::trace::spawn(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(panicked)) => Err(io::Error::other(panicked).into()),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}")).into()),
    }
}

/// Codes of a server that shuts down, or is no longer the primary (the retryable ones of MongoDB's drivers).
const NOT_PRIMARY: [i32; 13] = [6, 7, 64, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436];

/// Whether the server is unavailable or changes its primary, as opposed to a wrong command.
pub fn is_unavailable(error: &Error) -> bool {
    matches!(
        error.kind.as_ref(),
        ErrorKind::Io(_)
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. }
            | ErrorKind::Authentication { .. }
            | ErrorKind::Transaction { .. }
    ) || error.contains_label("TransientTransactionError")
        || error.contains_label("RetryableWriteError")
        || error.contains_label("UnknownTransactionCommitResult")
        || code(error).is_some_and(|code| NOT_PRIMARY.contains(&code))
}

fn code(error: &Error) -> Option<i32> {
    use mongodb::error::WriteFailure;
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}

/// Whether the server answers, but another transaction changes the same documents: retry the transaction.
pub fn is_contended(error: &Error) -> bool {
    let answered = matches!(
        error.kind.as_ref(),
        ErrorKind::Command(_) | ErrorKind::Write(_) | ErrorKind::InsertMany(_) | ErrorKind::BulkWrite(_)
    );
    let not_primary = code(error).is_some_and(|code| NOT_PRIMARY.contains(&code));
    answered && !not_primary && (error.contains_label(TRANSIENT_TRANSACTION_ERROR) || is_duplicate_key(error))
}

/// Whether a unique index refused a write.
pub fn is_duplicate_key(error: &Error) -> bool {
    use mongodb::error::WriteFailure;
    match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(e)) => e.code == 11000,
        ErrorKind::InsertMany(e) => e.write_errors.iter().flatten().any(|e| e.code == 11000),
        ErrorKind::BulkWrite(e) => e.write_errors.values().any(|e| e.code == 11000),
        ErrorKind::Command(e) => e.code == 11000,
        _ => false,
    }
}

/// The server's time. Must not be dropped midway.
pub async fn server_time(database: &Database) -> mongodb::error::Result<DateTime<Utc>> {
    let hello = database.run_command(doc! { "hello": 1 }).await?;
    hello.get_datetime("localTime").map(|now| now.to_chrono()).map_err(Error::custom)
}

/// Whether the server answers. May be dropped: the command runs in its own task.
pub async fn ping(database: &Database) -> Result<(), String> {
    let database = database.clone();
    let asking = crate::trace::spawn(async move { database.run_command(doc! { "ping": 1 }).await });
    let answered = asking.await.map_err(|error| error.to_string())?;
    answered.map(drop).map_err(|error| error.to_string())
}

#[cfg(feature = "server")]
impl From<Error> for crate::ApiError {
    /// A database that does not answer is 503; everything else is a bug.
    fn from(cause: Error) -> Self {
        if is_unavailable(&cause) {
            return Self::unavailable("database_unavailable", "the database does not answer; try again", cause);
        }
        Self::internal(cause)
    }
}
