//! Connections to PostgreSQL: bounded, in UTC, with deadlines.

use std::{str::FromStr, time::Duration};

use anyhow::{Context, bail};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::{config::Secret, health};

/// A pool of at most `max_connections`, opened at first use. Sessions run in UTC and no statement takes over 10 s.
pub fn pool(url: &Secret, application: &str, max_connections: u32) -> anyhow::Result<PgPool> {
    let options = PgConnectOptions::from_str(url.expose())
        .context("DATABASE_URL is not a PostgreSQL URL")?
        .application_name(application)
        .options([("timezone", "UTC"), ("statement_timeout", "10s"), ("idle_in_transaction_session_timeout", "30s")]);
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(options))
}

/// Brings the schema up to date, over a connection of its own; waits for an unavailable server, see [`health::wait_until_available`].
///
/// A schema that a newer version has migrated is left as it is: every migration is backward compatible, so that this version
/// can take over again.
pub async fn migrate(url: &Secret, application: &str, schema: &Migrator) -> anyhow::Result<()> {
    let pool = pool(url, application, 1)?;
    health::wait_until_available("PostgreSQL", || ping(&pool)).await?;
    let newest = schema.iter().map(|migration| migration.version).max().unwrap_or_default();
    let applied = applied_migrations(&pool).await.context("the migrations so far cannot be read")?;
    let unknown = applied.iter().find(|version| **version <= newest && !schema.version_exists(**version));
    if let Some(version) = unknown {
        bail!("migration {version} was applied, and this version has others; is the database another program's?");
    }
    let mut schema = Migrator::with_migrations(schema.iter().cloned().collect());
    schema.set_ignore_missing(true);
    schema.run(&pool).await.context("the schema was not migrated")?;
    match applied.last().filter(|version| **version > newest) {
        Some(version) => tracing::info!(version, "the schema is that of a newer version"),
        None => tracing::info!("the schema is up to date"),
    }
    Ok(())
}

/// The versions of the migrations that were applied, in order.
async fn applied_migrations(pool: &PgPool) -> sqlx::Result<Vec<i64>> {
    let migrated: bool =
        sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null").fetch_one(pool).await?;
    if !migrated {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("select version from _sqlx_migrations order by version").fetch_all(pool).await
}

/// Whether the server is unavailable or overloaded, as opposed to a wrong statement.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Tls(_) => true,
        // Class 08 connection, 53 resources, 57 operator intervention (shutdown, cancelled by timeout),
        // 40 rolled back, 28 refused, 3D not created yet.
        sqlx::Error::Database(db) => {
            db.code().is_some_and(|code| ["08", "53", "57", "40", "28", "3D"].iter().any(|c| code.starts_with(c)))
        }
        _ => false,
    }
}

/// Whether a value cannot be stored or compared: text with a NUL or outside the database's encoding, a number or an
/// instant out of range, a text that is too long. Such values come from a request.
pub fn is_unstorable_value(error: &sqlx::Error) -> bool {
    // Of class 22: right truncation, numeric and datetime out of range or malformed, NUL and other encodings, in JSON too.
    const CODES: [&str; 7] = ["22001", "22003", "22007", "22008", "22021", "22P02", "22P05"];
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| CODES.contains(&&*code))
}

/// The name of the violated constraint, if that is what the error says.
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::constraint)
}

/// Whether the server answers.
pub async fn ping(pool: &PgPool) -> Result<(), String> {
    sqlx::query("select 1").execute(pool).await.map(drop).map_err(|error| error.to_string())
}

#[cfg(feature = "server")]
impl From<sqlx::Error> for crate::ApiError {
    /// A database that does not answer is 503, and a value that it cannot store is 400. Everything else is a bug.
    fn from(cause: sqlx::Error) -> Self {
        if is_unavailable(&cause) {
            return Self::unavailable("database_unavailable", "the database does not answer; try again", cause);
        }
        if is_unstorable_value(&cause) {
            // Logged nevertheless: validation should have refused the value and named its field.
            let detail = "a text, number or time in the request cannot be stored";
            return Self::bad_request("unfit_value", detail).because(cause);
        }
        Self::internal(cause)
    }
}
