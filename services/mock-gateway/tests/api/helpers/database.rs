//! A database for one test.

use std::str::FromStr;

use sqlx::{Connection, Executor, PgConnection, PgPool, postgres::PgConnectOptions};
use uuid::Uuid;

/// A database with the schema. Dropping this drops the database.
pub(crate) struct Database {
    name: String,
    pub(crate) pool: PgPool,
}

impl Database {
    pub(super) async fn create() -> Self {
        let name = format!("mock_gateway_{}", Uuid::new_v4().simple());
        let mut server = PgConnection::connect(&server_url()).await.expect("PostgreSQL answers");
        server.execute(sqlx::AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        let pool = PgPool::connect_with(options(&name)).await.unwrap();
        sqlx::migrate!().run(&pool).await.unwrap();
        Self { name, pool }
    }

    pub(crate) fn url(&self) -> String {
        let mut url: url::Url = server_url().parse().unwrap();
        url.set_path(&self.name);
        url.into()
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let sql = format!("drop database if exists {} with (force)", self.name);
        let drop_it = async move {
            let mut server = PgConnection::connect(&server_url()).await?;
            server.execute(sqlx::AssertSqlSafe(sql)).await
        };
        // The test's own runtime may be ending.
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(drop_it)
        });
        thread.join().expect("no panic while dropping a database").expect("the database can be dropped");
    }
}

fn options(database: &str) -> PgConnectOptions {
    PgConnectOptions::from_str(&server_url()).unwrap().database(database)
}

fn server_url() -> String {
    std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL is not set; run: make test")
}
