//! Tables `sessions` and `refresh_tokens`: a session is a chain of tokens, each the successor of the previous one.

use uuid::Uuid;

use super::Store;
use crate::domain::{Session, User, session::REUSE_GRACE};

#[derive(Debug)]
pub struct NewSession<'a> {
    pub id: Uuid,
    pub user_id: i32,
    /// The hash that the password was verified against. If it has changed since, the session does not begin.
    pub password_hash: &'a str,
    /// Of the first refresh token.
    pub token_hash: &'a [u8],
    pub user_agent: Option<&'a str>,
    /// Without a refresh.
    pub lifetime_days: u32,
}

/// The outcome of presenting a refresh token.
#[derive(Debug, Eq, PartialEq)]
pub enum Rotation {
    /// Rotated now, or within the grace period; its successor is valid. With the session's id.
    Rotated(User, Uuid),
    /// Rotated longer ago than the grace period; the session is revoked.
    Reused,
    /// Logged out, expired, or the account is disabled.
    Ended,
    Unknown,
}

impl Store {
    /// False if the account was disabled or its password changed in the meantime.
    pub async fn insert_session(&self, new: NewSession<'_>) -> sqlx::Result<bool> {
        // The shared lock makes disabling an account and changing its password wait for this, or this for them.
        let inserted = sqlx::query!(
            "with account as (
                 select id from users where id = $2 and status = 'active' and password_hash = $3 for share
             ), session as (
                 insert into sessions (id, user_id, expires_at, user_agent)
                 select $1, id, now() + make_interval(days => $5), $6 from account
                 returning id
             )
             insert into refresh_tokens (token_hash, session_id) select $4, id from session",
            new.id,
            new.user_id,
            new.password_hash,
            new.token_hash,
            days(new.lifetime_days),
            new.user_agent,
        );
        Ok(inserted.execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Exchanges a refresh token for `successor`, which is always the same one for the same token.
    pub async fn rotate_refresh_token(
        &self,
        token: &[u8],
        successor: &[u8],
        lifetime_days: u32,
    ) -> sqlx::Result<Rotation> {
        // Whoever sets `rotated_at` first inserts the successor; others find it set and compare it with the grace.
        let rotated = sqlx::query_scalar!(
            "with live as (
                 select s.id from refresh_tokens t
                     join sessions s on s.id = t.session_id
                     join users u on u.id = s.user_id
                 where t.token_hash = $1 and s.revoked_at is null and s.expires_at > now() and u.status = 'active'
             ), rotated as (
                 update refresh_tokens t set rotated_at = now() from live
                 where t.token_hash = $1 and t.rotated_at is null
                 returning t.session_id
             ), successor as (
                 insert into refresh_tokens (token_hash, session_id) select $2, session_id from rotated
             )
             update sessions s set expires_at = now() + make_interval(days => $3)
             from rotated where s.id = rotated.session_id
             returning s.id",
            token,
            successor,
            days(lifetime_days),
        )
        .fetch_optional(&self.pool)
        .await?;
        if rotated.is_some() {
            metrics::counter!("eventplatform_refresh_total", "outcome" => "rotated").increment(1);
        }
        self.classify_refresh_token(token).await
    }

    /// The state of a token after an attempt to rotate it.
    async fn classify_refresh_token(&self, token: &[u8]) -> sqlx::Result<Rotation> {
        let found = sqlx::query!(
            r#"select s.id, s.user_id,
                   s.revoked_at is null and s.expires_at > now() and u.status = 'active' as "live!",
                   coalesce(t.rotated_at <= now() - make_interval(secs => $2), false) as "late!"
               from refresh_tokens t
                   join sessions s on s.id = t.session_id
                   join users u on u.id = s.user_id
               where t.token_hash = $1"#,
            token,
            REUSE_GRACE.as_secs_f64(),
        );
        let Some(found) = found.fetch_optional(&self.pool).await? else { return Ok(Rotation::Unknown) };
        if found.late {
            metrics::counter!("eventplatform_refresh_total", "outcome" => "reused").increment(1);
            self.revoke_session(found.id).await?;
            return Ok(Rotation::Reused);
        }
        if !found.live {
            return Ok(Rotation::Ended);
        }
        let user = self.find_user(found.user_id).await?;
        Ok(user.map_or(Rotation::Unknown, |user| Rotation::Rotated(user, found.id)))
    }

    /// The hash of the newest of these refresh tokens that can be used.
    pub async fn find_usable_token(&self, token_hashes: &[Vec<u8>]) -> sqlx::Result<Option<Vec<u8>>> {
        sqlx::query_scalar!(
            "select t.token_hash from refresh_tokens t
                 join sessions s on s.id = t.session_id
                 join users u on u.id = s.user_id
             where t.token_hash = any($1) and s.revoked_at is null and s.expires_at > now() and u.status = 'active'
                 and (t.rotated_at is null or t.rotated_at > now() - make_interval(secs => $2))
             order by t.created_at desc limit 1",
            token_hashes,
            REUSE_GRACE.as_secs_f64(),
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Up to `limit` open sessions of a user after the session `after`, the latest login first.
    pub async fn list_sessions(&self, user_id: i32, after: Option<Uuid>, limit: i64) -> sqlx::Result<Vec<Session>> {
        sqlx::query_as!(
            Session,
            r#"select s.id, s.created_at, s.user_agent, coalesce(
                   (select max(t.created_at) from refresh_tokens t where t.session_id = s.id), s.created_at
               ) as "last_used_at!"
               from sessions s
               where s.user_id = $1 and s.revoked_at is null and s.expires_at > now()
                   and ($2::uuid is null
                       or (s.created_at, s.id) < (select a.created_at, a.id from sessions a where a.id = $2))
               order by s.created_at desc, s.id desc limit $3"#,
            user_id,
            after,
            limit
        )
        .fetch_all(&self.pool)
        .await
    }

    /// False if the user has no such session, or it has ended.
    pub async fn end_session(&self, user_id: i32, id: Uuid) -> sqlx::Result<bool> {
        let ended = sqlx::query!(
            "update sessions set revoked_at = now()
             where id = $2 and user_id = $1 and revoked_at is null and expires_at > now()",
            user_id,
            id
        );
        Ok(ended.execute(&self.pool).await?.rows_affected() == 1)
    }

    /// Ends every session of a user but one.
    pub async fn end_other_sessions(&self, user_id: i32, kept: Uuid) -> sqlx::Result<()> {
        let ended = sqlx::query!(
            "update sessions set revoked_at = now() where user_id = $1 and id <> $2 and revoked_at is null",
            user_id,
            kept
        );
        ended.execute(&self.pool).await.map(drop)
    }

    /// Revokes the session of a refresh token, even if the token was rotated.
    pub async fn revoke_session_of(&self, token: &[u8]) -> sqlx::Result<()> {
        let session = sqlx::query_scalar!("select session_id from refresh_tokens where token_hash = $1", token);
        match session.fetch_optional(&self.pool).await? {
            Some(id) => self.revoke_session(id).await,
            None => Ok(()),
        }
    }

    async fn revoke_session(&self, id: Uuid) -> sqlx::Result<()> {
        let revoked = sqlx::query!("update sessions set revoked_at = now() where id = $1 and revoked_at is null", id);
        revoked.execute(&self.pool).await.map(drop)
    }
}

fn days(days: u32) -> i32 {
    i32::try_from(days).unwrap_or(i32::MAX)
}
