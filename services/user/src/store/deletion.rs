//! Deletion of an account: one transaction over every table with data of the user. The message about it can be repeated.

use chrono::{DateTime, Utc};
use contracts::message::{Message, UserFact};
use platform::{
    ApiError,
    idempotency::PgIdempotency,
    outbox::postgres::{enqueue, enqueue_again},
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Store;
use crate::domain::RateLimit;

/// Deletions that one transaction publishes again.
const BATCH: i64 = 500;

#[derive(Debug)]
pub struct AccountDeletion<'a> {
    pub user_id: i32,
    /// The hash that the password was verified against.
    pub password_hash: &'a str,
    /// Limits that hold attempts on this account.
    pub limits: &'a [RateLimit],
    /// The message to the other services.
    pub message: &'a Message,
    /// Answers the registration that made the account if it is sent again.
    pub refusal: ApiError,
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
        erase_personal_data(&mut transaction, id).await?;
        // The answer to the registration holds name and address. The record stays, so that a retry makes no account.
        PgIdempotency::refuse(&mut transaction, own.registration_id, account.refusal).await?;
        let keys: Vec<Vec<u8>> = account.limits.iter().map(|limit| limit.key.clone()).collect();
        sqlx::query!("delete from rate_limits where key = any($1)", &keys).execute(&mut *transaction).await?;
        enqueue(&mut transaction, message_id(own.registration_id), account.message).await?;
        transaction.commit().await?;
        Ok(DeletionOutcome::Deleted)
    }

    /// Enqueues the messages about accounts that were deleted at or after `since` again; returns how many accounts these
    /// are. A message that is not published yet is not repeated.
    pub async fn republish_deletions(&self, since: DateTime<Utc>) -> sqlx::Result<usize> {
        let (mut after, mut count) = (0, 0);
        loop {
            let mut transaction = self.pool.begin().await?;
            let deleted = sqlx::query!(
                r#"select id, registration_id, deleted_at as "deleted_at!" from users
                   where id > $1 and deleted_at >= $2 order by id limit $3"#,
                after,
                since,
                BATCH
            )
            .fetch_all(&mut *transaction)
            .await?;
            let Some(last) = deleted.last() else { return Ok(count) };
            after = last.id;
            count += deleted.len();
            for account in deleted {
                let fact = UserFact { user_id: account.id, occurred_at: account.deleted_at };
                let id = message_id(account.registration_id);
                enqueue_again(&mut transaction, id, &Message::UserDeleted(fact)).await?;
            }
            transaction.commit().await?;
        }
    }
}

/// The id of the message about an account; always the same, so that its consumers and the outbox recognize it.
fn message_id(registration_id: Uuid) -> Uuid {
    Uuid::new_v5(&registration_id, b"user.deleted")
}

/// Erases the personal data in the account's row, and deletes or clears other rows of the user.
async fn erase_personal_data(connection: &mut PgConnection, id: i32) -> sqlx::Result<()> {
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
    Ok(())
}
