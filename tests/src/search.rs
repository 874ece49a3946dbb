//! Searching everything that a platform stores: every table, every collection, every queue.

use anyhow::{Context, Result};
use bson::{RawDocumentBuf, doc};
use contracts::message::QUEUES;
use futures::TryStreamExt;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ErrorKind};
use mongodb::Client as MongoClient;
use sqlx::{AssertSqlSafe, PgPool};

use crate::programs::Program;
use crate::stack::Stack;

/// The programs that have a PostgreSQL database.
const WITH_TABLES: [Program; 3] = [Program::User, Program::Booking, Program::MockGateway];

/// A row, a document or a message in which a text was found.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Where it is, such as `booking-service: table bookings`.
    pub place: String,
    content: String,
}

impl Hit {
    /// Whether it holds that text too, in upper or lower case or as bytes.
    pub fn holds(&self, text: &str) -> bool {
        self.content.to_lowercase().contains(&text.to_lowercase()) || self.content.contains(&hex::encode(text))
    }
}

impl Stack {
    /// Everything stored that holds a text, in upper or lower case or as bytes.
    pub async fn search(&self, text: &str) -> Result<Vec<Hit>> {
        let mut hits = Vec::new();
        for program in WITH_TABLES {
            let found = search_tables(&self.database(program).await?, text).await;
            let found = found.with_context(|| format!("searching the tables of {}", program.name()))?;
            hits.extend(found.into_iter().map(|(table, content)| {
                let place = format!("{}: table {table}", program.name());
                Hit { place, content }
            }));
        }
        hits.extend(self.search_documents(text).await.context("searching the collections")?);
        hits.extend(self.search_queues(text).await.context("searching the queues")?);
        Ok(hits)
    }

    /// Every collection of every database of this platform.
    async fn search_documents(&self, text: &str) -> Result<Vec<Hit>> {
        let client = MongoClient::with_uri_str(&self.settings.mongodb_url).await?;
        let mut hits = Vec::new();
        for name in client.list_database_names().await? {
            if !name.ends_with(&self.settings.mongodb_suffix) {
                continue;
            }
            let database = client.database(&name);
            for collection in database.list_collection_names().await? {
                let mut found = database.collection::<RawDocumentBuf>(&collection).find(doc! {}).await?;
                while let Some(document) = found.try_next().await? {
                    // Text stands in BSON as it is.
                    let content = String::from_utf8_lossy(document.as_bytes()).into_owned();
                    let hit = Hit { place: format!("collection {name}.{collection}"), content };
                    if hit.holds(text) {
                        hits.push(hit);
                    }
                }
            }
        }
        Ok(hits)
    }

    /// Every queue, its deferred messages and its dead letters. The messages stay: they go back when the connection ends
    /// without an acknowledgement.
    async fn search_queues(&self, text: &str) -> Result<Vec<Hit>> {
        let connection = Connection::connect(&self.rabbitmq.url(), ConnectionProperties::default()).await?;
        let mut hits = Vec::new();
        for queue in QUEUES {
            // The way that messages go; the queue of deferred ones is declared when it is first needed.
            for (suffix, may_be_absent) in [(".retry", true), ("", false), (".dead", false)] {
                let name = format!("{}{suffix}", queue.name);
                let channel = connection.create_channel().await?;
                let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
                match channel.queue_declare(name.as_str().into(), passive, FieldTable::default()).await {
                    Err(error) if may_be_absent && is_not_found(&error) => continue,
                    declared => declared.map(drop)?,
                }
                while let Some(message) = channel.basic_get(name.as_str().into(), BasicGetOptions::default()).await? {
                    let body = String::from_utf8_lossy(&message.delivery.data);
                    let content = format!("{body} {:?}", message.delivery.properties);
                    let hit = Hit { place: format!("queue {name}"), content };
                    if hit.holds(text) {
                        hits.push(hit);
                    }
                }
            }
        }
        // Fails if a channel that RabbitMQ closed is not gone yet; the connection ends all the same.
        connection.close(200, "searched".into()).await.ok();
        Ok(hits)
    }
}

fn is_not_found(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(error) => *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND),
        // RabbitMQ closes the channel of a declaration that it refuses, perhaps before its caller hears why.
        ErrorKind::InvalidChannelState(..) => true,
        _ => false,
    }
}

/// The rows of every table that hold the text, each with its table's name.
async fn search_tables(pool: &PgPool, text: &str) -> Result<Vec<(String, String)>> {
    let tables = "select quote_ident(table_schema) || '.' || quote_ident(table_name) from information_schema.tables
                  where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')
                  order by 1";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(pool).await?;
    let mut found = Vec::new();
    for table in tables {
        // PostgreSQL writes bytes in hex.
        let rows = format!(
            "select content from (select t::text as content from {table} as t) as rows
             where strpos(lower(content), lower($1)) > 0 or strpos(content, $2) > 0"
        );
        let rows = sqlx::query_scalar(AssertSqlSafe(rows)).bind(text).bind(hex::encode(text));
        let rows: Vec<String> = rows.fetch_all(pool).await?;
        found.extend(rows.into_iter().map(|content| (table.clone(), content)));
    }
    Ok(found)
}
