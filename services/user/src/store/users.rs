//! Table `users`.

use chrono::{DateTime, Utc};
use contracts::identity::{Language, Role};
use platform::postgres::violated_constraint;
use uuid::Uuid;

use super::Store;
use crate::domain::{
    AdminChange, Credentials, Email, Name, NewUser, ProfileChange, Status, StatusFilter, User, UserChange,
};

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
        let role =
            |text: &str| Role::parse(text).ok_or_else(|| sqlx::Error::Decode(format!("unknown role {text}").into()));
        Ok(Self {
            id: row.id,
            email: row.email,
            name: row.name,
            role: role(&row.role)?,
            requested_role: row.requested_role.as_deref().map(role).transpose()?,
            status: row.status.parse().map_err(|error: strum::ParseError| sqlx::Error::Decode(error.into()))?,
            // A language that only a newer version knows is treated as none.
            language: row.language.as_deref().and_then(Language::parse),
            created_at: row.created_at,
        })
    }
}

impl Store {
    /// Idempotent by `registration_id`. `None` if the address is taken by another registration.
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
            // Either index may report first. If there is a row with our id, this registration made it.
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
            "select id, email, name, role, requested_role, status, language, created_at from users
             where registration_id = $1 and deleted_at is null",
            registration_id
        );
        row.fetch_optional(&self.pool).await?.map(User::try_from).transpose()
    }

    pub async fn has_active_admin(&self) -> sqlx::Result<bool> {
        sqlx::query_scalar!(
            r#"select exists (select from users where role = 'admin' and status = 'active') as "exists!""#
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Inserts an admin while there is no active one and the address is free. False if nothing was inserted.
    pub async fn insert_first_admin(&self, email: &Email, password_hash: &str) -> sqlx::Result<bool> {
        let mut transaction = self.pool.begin().await?;
        // Of replicas that start at the same time with different addresses, each sees what the others inserted.
        sqlx::query!("lock table users in share row exclusive mode").execute(&mut *transaction).await?;
        let inserted = sqlx::query!(
            "insert into users (email, name, role, password_hash, registration_id)
             select $1, 'Administrator', 'admin', $2, $3
             where not exists (select from users where role = 'admin' and status = 'active')
             on conflict (lower(email)) do nothing",
            email.as_str(),
            password_hash,
            Uuid::new_v4(),
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// Ignores the case of the address.
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

    /// `None` also if the account was deleted.
    pub async fn find_user(&self, id: i32) -> sqlx::Result<Option<User>> {
        let row = sqlx::query_as!(
            UserRow,
            "select id, email, name, role, requested_role, status, language, created_at from users
             where id = $1 and deleted_at is null",
            id
        );
        row.fetch_optional(&self.pool).await?.map(User::try_from).transpose()
    }

    /// `None` if the session is not the user's, or has ended.
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

    /// At most `limit` users with ids above `after`, by id.
    pub async fn list_users(&self, filter: Option<StatusFilter>, after: i32, limit: i64) -> sqlx::Result<Vec<User>> {
        let status: Option<&str> = filter.map(|filter| match filter {
            StatusFilter::Active | StatusFilter::Pending => Status::Active.into(),
            StatusFilter::Disabled => Status::Disabled.into(),
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

    /// `None` if there is no such user.
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

    /// Stores or withdraws a request to become an organizer. `None` if the user is not an attendee.
    pub async fn update_role_request(&self, id: i32, requested: bool) -> sqlx::Result<Option<User>> {
        let row = sqlx::query_as!(
            UserRow,
            "update users set requested_role = case when $2 then 'organizer' end
             where id = $1 and role = 'attendee' and deleted_at is null
             returning id, email, name, role, requested_role, status, language, created_at",
            id,
            requested,
        );
        row.fetch_optional(&self.pool).await?.map(User::try_from).transpose()
    }

    /// Replaces a hash by one of the same password with current parameters. False if the password was changed meanwhile.
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
            change.status.map(<&str>::from),
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

    pub async fn find_password_hash(&self, id: i32) -> sqlx::Result<Option<String>> {
        sqlx::query_scalar!("select password_hash from users where id = $1 and deleted_at is null", id)
            .fetch_optional(&self.pool)
            .await
    }

    /// Replaces the hash and ends every session except `kept`. False if the hash is no longer `old`.
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
