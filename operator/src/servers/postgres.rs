//! PostgreSQL: a role and a database for each program.

use sqlx::{
    ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::{Account, CONNECT_TIMEOUT, PostgresTarget, ServerFailure};

/// Logs in as the administrator and creates missing roles and databases.
pub(super) async fn prepare(target: PostgresTarget) -> Result<(), ServerFailure> {
    let mut admin = connect(&target, &target.admin, target.password.expose(), "postgres").await?;
    for account in &target.accounts {
        let login = connect(&target, &account.user, account.password.expose(), &account.database).await;
        match login {
            Ok(connection) => drop(connection.close().await),
            Err(_) => create_or_update_account(&mut admin, account).await?,
        }
    }
    drop(admin.close().await);
    Ok(())
}

async fn connect(
    target: &PostgresTarget,
    user: &str,
    password: &str,
    database: &str,
) -> Result<PgConnection, ServerFailure> {
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
        Err(_) => Err(ServerFailure::Unreachable(format!("{address} did not answer"))),
    }
}

fn failure(address: &str, user: &str, error: &sqlx::Error) -> ServerFailure {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default().into_owned();
    match code.as_str() {
        "28P01" | "28000" => ServerFailure::AuthFailed(format!("{address} rejects the password of {user}")),
        "57P03" => ServerFailure::NotReady(format!("{address} is starting")),
        "" => ServerFailure::Unreachable(format!("{address}: {error}")),
        _ => ServerFailure::Refused(format!("{address}: {error}")),
    }
}

/// Creates the role and the database of an account, or sets the password of an existing role.
async fn create_or_update_account(admin: &mut PgConnection, account: &Account) -> Result<(), ServerFailure> {
    let refused = |error: sqlx::Error| {
        ServerFailure::Refused(format!("PostgreSQL: cannot create {} for {}: {error}", account.database, account.user))
    };
    let exists = |name: &'static str| format!("select count(*) > 0 from {name} = $1");
    let role_exists: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(exists("pg_roles where rolname")))
        .bind(&account.user)
        .fetch_one(&mut *admin)
        .await
        .map_err(refused)?;
    let verb = if role_exists { "alter" } else { "create" };
    let (role, database) = (identifier(&account.user), identifier(&account.database));
    let password = literal(account.password.expose());
    execute(admin, format!("{verb} role {role} login password {password}")).await.map_err(refused)?;
    // Without superuser, the administrator can create databases only for roles that it is a member of.
    execute(admin, format!("grant {role} to current_user")).await.map_err(refused)?;
    let database_exists: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(exists("pg_database where datname")))
        .bind(&account.database)
        .fetch_one(&mut *admin)
        .await
        .map_err(refused)?;
    if !database_exists {
        execute(admin, format!("create database {database} owner {role}")).await.map_err(refused)?;
    }
    execute(admin, format!("revoke all on database {database} from public")).await.map_err(refused)
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
