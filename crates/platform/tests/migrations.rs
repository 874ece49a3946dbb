//! Migrations forward, and programs back: on real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use platform::{config::Secret, postgres::migrate};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};
use uuid::Uuid;

/// A program whose migrations create the tables with these numbers.
fn program(tables: &[i64]) -> Migrator {
    let migration = |table: &i64| {
        let statement = AssertSqlSafe(format!("create table t{table} (id integer)")).into_sql_str();
        Migration::new(*table, format!("create t{table}").into(), MigrationType::Simple, statement, false)
    };
    Migrator::with_migrations(tables.iter().map(migration).collect())
}

async fn execute(statement: &str) {
    let url = std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL is not set; run: make test");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
}

/// Runs the programs' migrations one after the other in a new database. Returns the last outcome.
async fn migrated_by(programs: &[&[i64]]) -> anyhow::Result<()> {
    let name = format!("migrations_{}", Uuid::new_v4().simple());
    execute(&format!("create database {name}")).await;
    let mut url = url::Url::parse(&std::env::var("TEST_POSTGRES_URL").unwrap()).unwrap();
    url.set_path(&name);
    let url = Secret::new(url.to_string());
    let mut last = Ok(());
    for tables in programs {
        last = migrate(&url, "test", &program(tables)).await;
    }
    execute(&format!("drop database {name} with (force)")).await;
    last
}

#[tokio::test]
async fn an_older_version_takes_over_a_newer_schema() {
    migrated_by(&[&[1, 2, 3], &[1, 2]]).await.unwrap();
    migrated_by(&[&[1, 2, 3], &[1, 2], &[1, 2, 3, 4]]).await.unwrap();
}

#[tokio::test]
async fn a_schema_with_other_migrations_in_between_is_refused() {
    let refused = migrated_by(&[&[1, 2, 3], &[1, 3]]).await.unwrap_err();

    assert!(refused.to_string().contains("migration 2 was applied"), "{refused}");
}
