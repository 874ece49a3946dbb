//! PostgreSQL databases that go away with their tests.

use sqlx::{AssertSqlSafe, Connection, PgConnection, migrate::Migrator};
use url::Url;
use uuid::Uuid;

use crate::server;

/// A database of its own, dropped at the end.
#[derive(Debug)]
pub struct Database {
    name: String,
    /// Its URL, with credentials.
    pub url: String,
}

impl Database {
    /// An empty one. Its name begins with `prefix`.
    pub async fn create(prefix: &str) -> Self {
        let name = format!("{prefix}_{}", Uuid::new_v4().simple());
        execute(format!("create database {name}")).await;
        let mut url = Url::parse(&server("TEST_POSTGRES_URL")).unwrap();
        url.set_path(&name);
        Self { name, url: url.into() }
    }

    /// One with that schema.
    pub async fn migrated(prefix: &str, schema: &Migrator) -> Self {
        let database = Self::create(prefix).await;
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        schema.run(&mut connection).await.unwrap();
        database
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let statement = format!("drop database if exists {} with (force)", self.name);
        // A runtime of its own: the test's cannot wait here.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(execute(statement));
        });
        dropping.join().ok();
    }
}

async fn execute(statement: String) {
    let mut connection =
        PgConnection::connect(&server("TEST_POSTGRES_URL")).await.expect("PostgreSQL of TEST_POSTGRES_URL answers");
    sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
}
