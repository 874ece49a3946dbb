//! Queries of the tables `outbox` (messages to publish) and `processed_messages` (consumed messages).

use std::time::Duration;

use contracts::message::Message;
use platform::outbox::postgres::{PgOutbox, enqueue_leased};
use uuid::Uuid;

use super::{Store, UnitOfWork};

/// How long the ids of consumed messages are kept.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

impl Store {
    pub fn outbox(&self) -> PgOutbox {
        PgOutbox::new(self.pool.clone())
    }

    pub async fn is_processed(&self, message_id: Uuid) -> sqlx::Result<bool> {
        sqlx::query_scalar!(
            r#"select exists (select from processed_messages where message_id = $1) as "exists!""#,
            message_id
        )
        .fetch_one(&self.pool)
        .await
    }

    pub async fn store_processed(&self, message_id: Uuid) -> sqlx::Result<()> {
        sqlx::query!("insert into processed_messages (message_id) values ($1) on conflict do nothing", message_id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Deletes old published and consumed messages; returns how many rows.
    pub async fn purge_messages(&self) -> sqlx::Result<u64> {
        let seconds = RETENTION.as_secs_f64();
        let consumed = sqlx::query!(
            "delete from processed_messages where processed_at < now() - make_interval(secs => $1)",
            seconds
        )
        .execute(&self.pool)
        .await?;
        Ok(self.outbox().purge().await? + consumed.rows_affected())
    }
}

impl UnitOfWork {
    /// Writes a message to the outbox, to be published after the commit.
    pub async fn enqueue(&mut self, message: &Message) -> sqlx::Result<()> {
        self.enqueue_as(Uuid::now_v7(), message).await
    }

    /// [`UnitOfWork::enqueue`] with a given message id; the same id is written once.
    pub async fn enqueue_as(&mut self, id: Uuid, message: &Message) -> sqlx::Result<()> {
        self.enqueued.extend(enqueue_leased(&mut self.tx, id, message).await?);
        Ok(())
    }
}
