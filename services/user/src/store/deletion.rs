//! Deletion of an account: one transaction over every table with data of the user.

use contracts::message::Message;
use platform::outbox::postgres::enqueue;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Store;
use crate::domain::RateLimit;

#[derive(Debug)]
pub struct AccountDeletion<'a> {
    pub user_id: i32,
    /// The hash that the password was verified against.
    pub password_hash: &'a str,
    /// Limits that hold attempts on this account.
    pub limits: &'a [RateLimit],
    /// The message to the other services.
    pub message: &'a Message,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeletionOutcome {
    Deleted,
    /// Refused: there is no other active admin.
    LastAdmin,
    /// Refused: the password has changed since it was verified.
    PasswordChanged,
    /// The account was deleted or disabled meanwhile.
    AccountGone,
}

impl Store {
    /// The row in `users` stays, without personal data.
    pub async fn delete_account(&self, account: AccountDeletion<'_>) -> sqlx::Result<DeletionOutcome> {
        let id = account.user_id;
        let mut transaction = self.pool.begin().await?;
        // One statement locks the account and, for an admin, every active admin, ordered by id. So two admins who delete
        // their accounts at once cannot deadlock, and the second one no longer sees the first. It also waits for logins
        // in progress, so that their sessions are seen below.
        let locked = sqlx::query!(
            "select id, role, status, password_hash, registration_id from users
             where deleted_at is null and (id = $1 or (
                 role = 'admin' and status = 'active' and exists (select from users where id = $1 and role = 'admin')
             ))
             order by id for update",
            id
        )
        .fetch_all(&mut *transaction)
        .await?;
        let Some(own) = locked.iter().find(|row| row.id == id && row.status == "active") else {
            return Ok(DeletionOutcome::AccountGone);
        };
        if own.password_hash != account.password_hash {
            return Ok(DeletionOutcome::PasswordChanged);
        }
        if own.role == "admin" && locked.len() == 1 {
            return Ok(DeletionOutcome::LastAdmin);
        }
        erase_personal_data(&mut transaction, id, own.registration_id).await?;
        let keys: Vec<Vec<u8>> = account.limits.iter().map(|limit| limit.key.clone()).collect();
        sqlx::query!("delete from rate_limits where key = any($1)", &keys).execute(&mut *transaction).await?;
        enqueue(&mut transaction, Uuid::new_v4(), account.message).await?;
        transaction.commit().await?;
        Ok(DeletionOutcome::Deleted)
    }
}

/// Erases the personal data in the account's row, and deletes or clears other rows of the user.
async fn erase_personal_data(connection: &mut PgConnection, id: i32, registration_id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "update users set email = $2, name = '', password_hash = '', role = 'attendee', status = 'disabled',
             requested_role = null, language = null, deleted_at = now()
         where id = $1",
        id,
        format!("{}@deleted.invalid", Uuid::new_v4()),
    )
    .execute(&mut *connection)
    .await?;
    // Sessions and their tokens stay until the purge, so that their clients get `session_over`.
    sqlx::query!(
        "update sessions set revoked_at = coalesce(revoked_at, now()), user_agent = null where user_id = $1",
        id
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("delete from known_clients where user_id = $1", id).execute(&mut *connection).await?;
    sqlx::query!("delete from password_resets where user_id = $1", id).execute(&mut *connection).await?;
    // The stored answer of the registration holds name and address; it is not under the user's id, which did not
    // exist yet.
    sqlx::query!("delete from idempotency_keys where user_id = $1 or operation_id = $2", id, registration_id)
        .execute(&mut *connection)
        .await?;
    Ok(())
}
