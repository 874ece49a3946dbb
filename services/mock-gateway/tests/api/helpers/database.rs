//! A database for one test, with a pool to look into it.

use sqlx::PgPool;

/// A database with the schema. Dropping this drops the database.
pub(crate) struct Database {
    pub(crate) pool: PgPool,
    database: testing::Database,
}

impl Database {
    pub(super) async fn create() -> Self {
        let database = testing::Database::migrated("mock_gateway", &sqlx::migrate!()).await;
        Self { pool: PgPool::connect_lazy(&database.url).unwrap(), database }
    }

    pub(crate) fn url(&self) -> String {
        self.database.url.clone()
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }
}
