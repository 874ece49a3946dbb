//! Connections to MongoDB: majority write concern with journal, snapshot transactions, deadlines.

use std::time::Duration;

use anyhow::Context;
use bson::doc;
use mongodb::{
    Client, Database,
    error::{Error, ErrorKind},
    options::{Acknowledgment, ClientOptions, ReadConcern, WriteConcern},
};

use crate::config::Secret;

/// A client of database `name`. Nothing is connected until the first use.
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

/// Whether the error says that the server is away or changing its primary, rather than that the command is wrong.
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
}

/// Whether a unique index refused a write.
pub fn is_duplicate_key(error: &Error) -> bool {
    use mongodb::error::WriteFailure;
    match error.kind.as_ref() {
        ErrorKind::Write(WriteFailure::WriteError(e)) => e.code == 11000,
        ErrorKind::InsertMany(e) => e.write_errors.iter().flatten().any(|e| e.code == 11000),
        ErrorKind::Command(e) => e.code == 11000,
        _ => false,
    }
}

/// Whether the server answers. May be dropped: it asks in a task of its own.
pub async fn ping(database: &Database) -> Result<(), String> {
    let database = database.clone();
    let asking = crate::trace::spawn(async move { database.run_command(doc! { "ping": 1 }).await });
    let answered = asking.await.map_err(|error| error.to_string())?;
    answered.map(drop).map_err(|error| error.to_string())
}
