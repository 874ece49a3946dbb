//! Table `users`.

use chrono::{DateTime, Utc};
use contracts::identity::{Language, Role};
use platform::postgres::violated_constraint;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::Store;
use crate::domain::{Email, Name, NewUser, Status};

/// A person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Unique for ever.
    pub id: i32,
    /// As it was typed.
    pub email: String,
    /// Display name.
    pub name: String,
    /// What the person may do.
    pub role: Role,
    /// The role that was asked for and awaits an admin.
    pub requested_role: Option<Role>,
    /// Whether the account can be used.
    pub status: Status,
    /// The language that the person chose, if any.
    pub language: Option<Language>,
    /// When the person registered.
    pub created_at: DateTime<Utc>,
}

/// A person and the hash of the password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The person.
    pub user: User,
    /// PHC string.
    pub password_hash: String,
}

/// Which users a list has.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum StatusFilter {
    /// Accounts that can be used.
    Active,
    /// Of those, the ones that asked for a role and await an admin.
    Pending,
    /// Accounts that an admin has closed.
    Disabled,
}

/// What an admin changes about a person.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserChange {
    /// Another role. Naming one also settles the request for a role.
    pub role: Option<Role>,
    /// Another status. Disabling ends every session.
    pub status: Option<Status>,
}

/// What became of an admin's change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdminChange {
    /// The person as they are now.
    Changed(User),
    /// Nothing changed: nobody has that id.
    NoSuchUser,
    /// Nothing changed: whoever asked is no active admin any more.
    NotByAdmin,
}

/// A change to one's own profile; absent fields stay unchanged.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// The new display name.
    pub name: Option<Name>,
    /// The new language.
    pub language: Option<Language>,
}

struct UserRow {
    id: i32,
    email: String,
    name: String,
    role: String,
    requested_role: Option<String>,
    status: String,
    language: Option<String>,
    created_at: DateTime<Utc>,
}

impl TryFrom<UserRow> for User {
    type Error = sqlx::Error;

    fn try_from(row: UserRow) -> sqlx::Result<Self> {
        let unknown = |word: &str| sqlx::Error::Decode(format!("unknown word {word}").into());
        let role = |word: &str| Role::parse(word).ok_or_else(|| unknown(word));
        Ok(Self {
            id: row.id,
            email: row.email,
            name: row.name,
            role: role(&row.role)?,
            requested_role: row.requested_role.as_deref().map(role).transpose()?,
            status: Status::parse(&row.status).ok_or_else(|| unknown(&row.status))?,
            // A language that only a newer version knows counts as none.
            language: row.language.as_deref().and_then(Language::parse),
            created_at: row.created_at,
        })
    }
}

impl Store {
    /// Registers a person under the id of the operation; `None` if somebody else has the address.
    ///
    /// Called again with the same id it finds the person that it made.
    pub async fn insert_user(
        &self,
        new: &NewUser,
        password_hash: &str,
        registration_id: Uuid,
    ) -> sqlx::Result<Option<User>> {
        let inserted = sqlx::query_as!(
            UserRow,
            "insert into users (email, name, role, requested_role, language, password_hash, registration_id)
             values ($1, $2, $3, $4, $5, $6, $7)
             returning id, email, name, role, requested_role, status, language, created_at",
            new.email.as_str(),
            new.name.as_str(),
            new.role.as_str(),
            new.requested_role.map(Role::as_str),
            new.language.map(Language::as_str),
            password_hash,
            registration_id,
        )
        .fetch_one(&self.pool)
        .await;
        match inserted {
            Ok(row) => User::try_from(row).map(Some),
            // Whichever of the two indexes is asked first: the row with our id, if there is one, is ours.
            Err(error)
                if matches!(violated_constraint(&error), Some("users_email_key" | "users_registration_id_key")) =>
            {
                self.find_registered(registration_id).await
            }
            Err(error) => Err(error),
        }
    }

    async fn find_registered(&self, registration_id: Uuid) -> sqlx::Result<Option<User>> {
        let row = sqlx::query_as!(
            UserRow,
            "select id, email, name, role, requested_role, status, language, created_at from users where registration_id = $1",
            registration_id
        );
        row.fetch_optional(&self.pool).await?.map(User::try_from).transpose()
    }

    /// Makes an admin, unless somebody has that address.
    pub async fn insert_admin(&self, email: &Email, password_hash: &str) -> sqlx::Result<()> {
        sqlx::query!(
            "insert into users (email, name, role, password_hash, registration_id)
             values ($1, 'Administrator', 'admin', $2, $3)
             on conflict (lower(email)) do nothing",
            email.as_str(),
            password_hash,
            Uuid::new_v4(),
        )
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// The person with that address, in any case, and the hash of the password.
    pub async fn find_credentials(&self, email: &Email) -> sqlx::Result<Option<Credentials>> {
        let row = sqlx::query!(
            "select id, email, name, role, requested_role, status, language, created_at, password_hash
             from users where lower(email) = lower($1) and deleted_at is null",
            email.as_str()
        );
        let Some(row) = row.fetch_optional(&self.pool).await? else { return Ok(None) };
        let user = UserRow {
            id: row.id,
            email: row.email,
            name: row.name,
            role: row.role,
            requested_role: row.requested_role,
            status: row.status,
            language: row.language,
            created_at: row.created_at,
        };
        Ok(Some(Credentials { user: user.try_into()?, password_hash: row.password_hash }))
    }

    /// The person of that id; `None` if there is none, or the account was deleted.
    pub async fn find_user(&self, id: i32) -> sqlx::Result<Option<User>> {
        let row = sqlx::query_as!(
            UserRow,
            "select id, email, name, role, requested_role, status, language, created_at from users
             where id = $1 and deleted_at is null",
            id
        );
        row.fetch_optional(&self.pool).await?.map(User::try_from).transpose()
    }

    /// The person of that id, if the session is one of theirs and not over.
    pub async fn find_user_in_session(&self, id: i32, session_id: Uuid) -> sqlx::Result<Option<User>> {
        let row = sqlx::query_as!(
            UserRow,
            "select u.id, u.email, u.name, u.role, u.requested_role, u.status, u.language, u.created_at
             from users u join sessions s on s.user_id = u.id
             where u.id = $1 and s.id = $2 and s.revoked_at is null and s.expires_at > now()",
            id,
            session_id
        );
        row.fetch_optional(&self.pool).await?.map(User::try_from).transpose()
    }

    /// Up to `limit` people whose ids follow `after`, by id.
    pub async fn list_users(&self, filter: Option<StatusFilter>, after: i32, limit: i64) -> sqlx::Result<Vec<User>> {
        let status = filter.map(|filter| match filter {
            StatusFilter::Active | StatusFilter::Pending => Status::Active.as_str(),
            StatusFilter::Disabled => Status::Disabled.as_str(),
        });
        let rows = sqlx::query_as!(
            UserRow,
            "select id, email, name, role, requested_role, status, language, created_at from users
             where id > $1 and deleted_at is null and ($2::text is null or status = $2)
                 and (not $3 or requested_role is not null)
             order by id limit $4",
            after,
            status,
            filter == Some(StatusFilter::Pending),
            limit
        );
        rows.fetch_all(&self.pool).await?.into_iter().map(User::try_from).collect()
    }

    /// Changes one's own profile; `None` if there is no such person.
    pub async fn update_profile(&self, id: i32, change: &ProfileChange) -> sqlx::Result<Option<User>> {
        let row = sqlx::query_as!(
            UserRow,
            "update users set name = coalesce($2, name), language = coalesce($3, language)
             where id = $1 and deleted_at is null
             returning id, email, name, role, requested_role, status, language, created_at",
            id,
            change.name.as_ref().map(Name::as_str),
            change.language.map(Language::as_str),
        );
        row.fetch_optional(&self.pool).await?.map(User::try_from).transpose()
    }

    /// Asks an admin to make an attendee an organizer, or withdraws the request; `None` if the person is not an
    /// attendee.
    pub async fn update_role_request(&self, id: i32, asked: bool) -> sqlx::Result<Option<User>> {
        let row = sqlx::query_as!(
            UserRow,
            "update users set requested_role = case when $2 then 'organizer' end
             where id = $1 and role = 'attendee' and deleted_at is null
             returning id, email, name, role, requested_role, status, language, created_at",
            id,
            asked,
        );
        row.fetch_optional(&self.pool).await?.map(User::try_from).transpose()
    }

    /// Replaces an older hash by one with the present parameters for the same password; false if the password was
    /// changed meanwhile.
    pub async fn update_password_hash(&self, id: i32, old: &str, new: &str) -> sqlx::Result<bool> {
        let updated =
            sqlx::query!("update users set password_hash = $3 where id = $1 and password_hash = $2", id, old, new);
        Ok(updated.execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Changes a person on behalf of an admin, who is somebody else.
    pub async fn update_user(&self, admin_id: i32, id: i32, change: UserChange) -> sqlx::Result<AdminChange> {
        let mut transaction = self.pool.begin().await?;
        // The rows that a deletion locks, in the same order. Two admins who remove each other at once, in whichever way,
        // cannot deadlock, and the second is no admin any more. So one admin is always left.
        let admins = sqlx::query_scalar!(
            "select id from users
             where deleted_at is null and (id = $1 or (role = 'admin' and status = 'active'))
             order by id for update",
            id
        )
        .fetch_all(&mut *transaction)
        .await?;
        if !admins.contains(&admin_id) {
            return Ok(AdminChange::NotByAdmin);
        }
        let row = sqlx::query_as!(
            UserRow,
            "update users set
                 role = coalesce($2, role),
                 requested_role = case when $2::text is null then requested_role end,
                 status = coalesce($3, status)
             where id = $1 and deleted_at is null
             returning id, email, name, role, requested_role, status, language, created_at",
            id,
            change.role.map(Role::as_str),
            change.status.map(Status::as_str),
        )
        .fetch_optional(&mut *transaction)
        .await?;
        if change.status == Some(Status::Disabled) {
            // After the update, which waits for logins under way: their sessions are seen here.
            sqlx::query!("update sessions set revoked_at = now() where user_id = $1 and revoked_at is null", id)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        row.map_or(Ok(AdminChange::NoSuchUser), |row| User::try_from(row).map(AdminChange::Changed))
    }

    /// The hash of a person's password.
    pub async fn find_password_hash(&self, id: i32) -> sqlx::Result<Option<String>> {
        sqlx::query_scalar!("select password_hash from users where id = $1 and deleted_at is null", id)
            .fetch_optional(&self.pool)
            .await
    }

    /// Puts one hash in the place of another and ends every session but `kept`; false if the hash was another one.
    pub async fn update_password(&self, id: i32, old: &str, new: &str, kept: Uuid) -> sqlx::Result<bool> {
        let mut transaction = self.pool.begin().await?;
        let changed =
            sqlx::query!("update users set password_hash = $3 where id = $1 and password_hash = $2", id, old, new)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
        if changed == 0 {
            return Ok(false);
        }
        sqlx::query!(
            "update sessions set revoked_at = now() where user_id = $1 and id <> $2 and revoked_at is null",
            id,
            kept
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!("delete from password_resets where user_id = $1 and used_at is null", id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }
}
