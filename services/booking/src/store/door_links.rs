//! Queries of the table `door_links`.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Store;
use crate::domain::{DoorLink, NewDoorLink};

/// How long links are listed after they expired.
const EXPIRED_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

impl Store {
    pub async fn insert_door_link(&self, new: &NewDoorLink, token_hash: &[u8]) -> sqlx::Result<DoorLink> {
        sqlx::query_as!(
            DoorLink,
            "insert into door_links (event_id, created_by, label, token_hash, expires_at) values ($1, $2, $3, $4, $5)
             returning id, event_id, label, expires_at, created_at",
            new.event_id,
            new.created_by,
            new.label,
            token_hash,
            new.expires_at,
        )
        .fetch_one(&self.pool)
        .await
    }

    /// The link with this token, unless it has expired.
    pub async fn find_active_door_link(&self, token_hash: &[u8], now: DateTime<Utc>) -> sqlx::Result<Option<DoorLink>> {
        sqlx::query_as!(
            DoorLink,
            "select id, event_id, label, expires_at, created_at from door_links
             where token_hash = $1 and expires_at > $2",
            token_hash,
            now,
        )
        .fetch_optional(&self.pool)
        .await
    }

    pub async fn find_door_link(&self, id: i32) -> sqlx::Result<Option<DoorLink>> {
        sqlx::query_as!(
            DoorLink,
            "select id, event_id, label, expires_at, created_at from door_links where id = $1",
            id,
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Links of an event with ids below `before`, newest first.
    pub async fn list_door_links(
        &self,
        event_id: &str,
        before: Option<i32>,
        limit: i64,
    ) -> sqlx::Result<Vec<DoorLink>> {
        sqlx::query_as!(
            DoorLink,
            "select id, event_id, label, expires_at, created_at from door_links
             where event_id = $1 and ($2::integer is null or id < $2)
             order by id desc limit $3",
            event_id,
            before,
            limit,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Revokes a link.
    pub async fn delete_door_link(&self, id: i32) -> sqlx::Result<()> {
        sqlx::query!("delete from door_links where id = $1", id).execute(&self.pool).await?;
        Ok(())
    }

    /// Deletes links that expired some time ago; returns how many.
    pub async fn purge_door_links(&self) -> sqlx::Result<u64> {
        let result = sqlx::query!(
            "delete from door_links where expires_at < now() - make_interval(secs => $1)",
            EXPIRED_RETENTION.as_secs_f64(),
        )
        .execute(&self.pool)
        .await?;
        Ok(result.rows_affected())
    }
}
