//! The deletion of an account: one transaction over every table that knows the person.

use contracts::message::Message;
use platform::outbox::postgres::enqueue;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{RateLimit, Store};

/// An account to delete.
#[derive(Debug)]
pub struct DeletedAccount<'a> {
    /// Whose it is.
    pub user_id: i32,
    /// The hash that the password was compared with.
    pub password_hash: &'a str,
    /// The limits that count attempts at this account.
    pub limits: &'a [RateLimit],
    /// What the other services are told.
    pub message: &'a Message,
}

/// What became of the deletion of an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Deletion {
    /// The account is deleted.
    Deleted,
    /// Nothing changed: nobody else is an active admin.
    LastAdmin,
    /// Nothing changed: the password is another one by now.
    PasswordChanged,
    /// Nothing changed: the account was deleted or disabled meanwhile.
    Over,
}

impl Store {
    /// Deletes an account. Its row stays, without the person.
    pub async fn delete_account(&self, account: DeletedAccount<'_>) -> sqlx::Result<Deletion> {
        let id = account.user_id;
        let mut transaction = self.pool.begin().await?;
        // One statement locks the account and, if it is an admin's, every active admin, in the order of their ids. Two
        // admins who delete their accounts at once cannot deadlock, and the second no longer sees the first.
        // It also waits for logins under way, so their sessions are seen below.
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
            return Ok(Deletion::Over);
        };
        if own.password_hash != account.password_hash {
            return Ok(Deletion::PasswordChanged);
        }
        if own.role == "admin" && locked.len() == 1 {
            return Ok(Deletion::LastAdmin);
        }
        remove_person(&mut transaction, id, own.registration_id).await?;
        let keys: Vec<Vec<u8>> = account.limits.iter().map(|limit| limit.key().to_vec()).collect();
        sqlx::query!("delete from rate_limits where key = any($1)", &keys).execute(&mut *transaction).await?;
        enqueue(&mut transaction, Uuid::new_v4(), account.message).await?;
        transaction.commit().await?;
        Ok(Deletion::Deleted)
    }
}

/// Removes the person from the account's row, and every other row that knows them.
async fn remove_person(connection: &mut PgConnection, id: i32, registration_id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "update users set email = $2, name = '', password_hash = '', role = 'attendee', status = 'disabled',
             requested_role = null, language = null, deleted_at = now()
         where id = $1",
        id,
        format!("{}@deleted.invalid", Uuid::new_v4()),
    )
    .execute(&mut *connection)
    .await?;
    // Sessions and their tokens stay for a while, so that whoever still uses them is told that they are over.
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
    if !platform::guard_removed!("user.forget_answers") {
        sqlx::query!("delete from idempotency_keys where user_id = $1 or operation_id = $2", id, registration_id)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
