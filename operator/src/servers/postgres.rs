//! PostgreSQL: a role and a database for each program.
//!
//! A role on a server that others use too carries the platform's mark as its comment. Without that mark, an existing role is
//! never changed: it may belong to another platform.

use std::collections::BTreeSet;

use sqlx::{
    ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::{Account, CONNECT_TIMEOUT, PostgresTarget, Prepared, ServerFailure};

/// Why somebody could not log in.
struct LoginFailure {
    /// The SQLSTATE, if the server answered.
    code: String,
    failure: ServerFailure,
}

/// Logs in as the administrator and creates missing roles and databases.
pub(super) async fn prepare(target: PostgresTarget) -> Result<Prepared, ServerFailure> {
    let mut admin =
        connect(&target, &target.admin, target.password.expose(), "postgres").await.map_err(|e| e.failure)?;
    let mut empty = BTreeSet::new();
    for account in &target.accounts {
        if prepare_account(&mut admin, &target, account).await? {
            empty.insert(account.program);
        }
    }
    drop(admin.close().await);
    Ok(Prepared { empty })
}

/// Returns whether the database of the account is empty.
async fn prepare_account(
    admin: &mut PgConnection,
    target: &PostgresTarget,
    account: &Account,
) -> Result<bool, ServerFailure> {
    match connect(target, &account.user, account.password.expose(), &account.database).await {
        Ok(mut own) => {
            if let Some(owner) = &target.owner {
                mark_role(admin, account, owner).await?;
            }
            let empty = is_empty(&mut own).await.map_err(|error| refused(account, &error))?;
            drop(own.close().await);
            return Ok(empty);
        }
        // The server looks for the database after it has accepted the password.
        Err(LoginFailure { code, .. }) if code == "3D000" => {}
        Err(LoginFailure { failure: ServerFailure::AuthFailed(_), .. }) => {
            create_or_take_role(admin, target, account).await?;
        }
        // That says nothing about the role.
        Err(LoginFailure { failure, .. }) => return Err(failure),
    }
    create_database(admin, target, account).await?;
    let own = connect(target, &account.user, account.password.expose(), &account.database).await;
    let mut own = own.map_err(|login| login.failure)?;
    let empty = is_empty(&mut own).await.map_err(|error| refused(account, &error))?;
    drop(own.close().await);
    Ok(empty)
}

async fn connect(
    target: &PostgresTarget,
    user: &str,
    password: &str,
    database: &str,
) -> Result<PgConnection, LoginFailure> {
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&target.host)
        .port(target.port)
        .username(user)
        .password(password)
        .database(database)
        .application_name("eventplatform-operator")
        // Statements contain passwords.
        .disable_statement_logging();
    options = match &target.tls {
        None => options.ssl_mode(PgSslMode::Disable),
        Some(tls) => match &tls.authority {
            None => options.ssl_mode(PgSslMode::VerifyFull),
            Some(pem) => options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert_from_pem(pem.clone().into_bytes()),
        },
    };
    let address = format!("PostgreSQL at {}:{}", target.host, target.port);
    match tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(failure(&address, user, &error)),
        Err(_) => Err(LoginFailure {
            code: String::new(),
            failure: ServerFailure::Unreachable(format!("{address} did not answer")),
        }),
    }
}

fn failure(address: &str, user: &str, error: &sqlx::Error) -> LoginFailure {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned();
    let failure = match code.as_str() {
        "28P01" | "28000" => ServerFailure::AuthFailed(format!("{address} rejects the password of {user}")),
        "57P03" => ServerFailure::NotReady(format!("{address} is starting")),
        "" => ServerFailure::Unreachable(format!("{address}: {error}")),
        _ => ServerFailure::Refused(format!("{address}: {error}")),
    };
    LoginFailure { code, failure }
}

fn refused(account: &Account, error: &sqlx::Error) -> ServerFailure {
    ServerFailure::Refused(format!("PostgreSQL: cannot prepare {} for {}: {error}", account.database, account.user))
}

fn taken(what: &str, owner: &str, role: &str) -> ServerFailure {
    ServerFailure::NameTaken(format!(
        "PostgreSQL: {what} exists and is not marked as this platform's; nothing was changed. Set \
         postgres.external.prefix of one of the platforms, or if it is this platform's own, run as the administrator: \
         comment on role {} is {}",
        identifier(role),
        literal(owner)
    ))
}

/// The comment of a role. `None` if there is no such role.
async fn mark(admin: &mut PgConnection, role: &str) -> Result<Option<Option<String>>, sqlx::Error> {
    sqlx::query_scalar("select shobj_description(oid, 'pg_authid') from pg_roles where rolname = $1")
        .bind(role)
        .fetch_optional(admin)
        .await
}

/// Marks the role of an older release, which knows its password and so is the platform's.
async fn mark_role(admin: &mut PgConnection, account: &Account, owner: &str) -> Result<(), ServerFailure> {
    let present = mark(admin, &account.user).await.map_err(|error| refused(account, &error))?;
    if present == Some(None) {
        let comment = format!("comment on role {} is {}", identifier(&account.user), literal(owner));
        // Without the right to mark it, the role works all the same.
        if let Err(error) = execute(admin, comment).await {
            tracing::warn!(role = account.user, %error, "a role cannot be marked as the platform's");
        }
    }
    Ok(())
}

/// Creates the role of an account, or sets the password of its own.
async fn create_or_take_role(
    admin: &mut PgConnection,
    target: &PostgresTarget,
    account: &Account,
) -> Result<(), ServerFailure> {
    let present = mark(admin, &account.user).await.map_err(|error| refused(account, &error))?;
    let verb = match (&present, &target.owner) {
        (None, _) => "create",
        // Nobody else uses a server of the platform's own.
        (Some(_), None) => "alter",
        (Some(Some(mark)), Some(owner)) if mark == owner => "alter",
        (Some(_), Some(owner)) => return Err(taken(&format!("role {}", account.user), owner, &account.user)),
    };
    let (role, password) = (identifier(&account.user), literal(account.password.expose()));
    let mut statements = format!("{verb} role {role} login password {password}");
    if let Some(owner) = &target.owner {
        // In one transaction with the role, so that no unmarked one is left behind.
        statements.push_str(&format!("; comment on role {role} is {}", literal(owner)));
    }
    execute(admin, statements).await.map_err(|error| refused(account, &error))
}

/// Creates the database of an account whose role exists.
async fn create_database(
    admin: &mut PgConnection,
    target: &PostgresTarget,
    account: &Account,
) -> Result<(), ServerFailure> {
    let refused = |error: sqlx::Error| refused(account, &error);
    let (role, database) = (identifier(&account.user), identifier(&account.database));
    let owned_by: Option<String> =
        sqlx::query_scalar("select pg_get_userbyid(datdba)::text from pg_database where datname = $1")
            .bind(&account.database)
            .fetch_optional(&mut *admin)
            .await
            .map_err(refused)?;
    match (owned_by, &target.owner) {
        (Some(other), Some(owner)) if other != account.user => {
            return Err(taken(&format!("database {} of {other}", account.database), owner, &account.user));
        }
        (Some(_), _) => {}
        (None, _) => {
            // Without superuser, the administrator can create databases only for roles that it is a member of.
            execute(admin, format!("grant {role} to current_user")).await.map_err(refused)?;
            execute(admin, format!("create database {database} owner {role}")).await.map_err(refused)?;
        }
    }
    execute(admin, format!("revoke all on database {database} from public")).await.map_err(refused)
}

/// Whether a database has no tables.
async fn is_empty(own: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let tables =
        "select not exists (select from pg_tables where schemaname not in ('pg_catalog', 'information_schema'))";
    sqlx::query_scalar(tables).fetch_one(own).await
}

async fn execute(admin: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(admin).await.map(drop)
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal. Backslashes are plain characters, as standard_conforming_strings is on by default.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_are_quoted() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("a'b"), "'a''b'");
    }
}
