//! Messages to publish (`outbox`) and messages consumed (`processed_messages`), and the deletion of old ones.

use std::time::Duration;

use contracts::message::Message;
use platform::outbox::postgres::{PgOutbox, enqueue};
use uuid::Uuid;

use super::{Store, Unit};

/// The ids of consumed messages are kept this long.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

impl Store {
    /// The messages that are to be published.
    pub fn outbox(&self) -> PgOutbox {
        PgOutbox::new(self.pool.clone())
    }

    /// Whether that message was consumed to the end.
    pub async fn is_processed(&self, message_id: Uuid) -> sqlx::Result<bool> {
        sqlx::query_scalar!(
            r#"select exists (select from processed_messages where message_id = $1) as "exists!""#,
            message_id
        )
        .fetch_one(&self.pool)
        .await
    }

    /// Stores that a message was consumed to the end.
    pub async fn store_processed(&self, message_id: Uuid) -> sqlx::Result<()> {
        sqlx::query!("insert into processed_messages (message_id) values ($1) on conflict do nothing", message_id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Deletes what was published or consumed long ago; returns how many rows.
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

impl Unit {
    /// Writes a message that is published once this transaction is committed.
    pub async fn tell(&mut self, message: &Message) -> sqlx::Result<()> {
        self.tell_as(Uuid::now_v7(), message).await
    }

    /// [`Unit::tell`] under an id of the caller's; the same id is written once.
    pub async fn tell_as(&mut self, id: Uuid, message: &Message) -> sqlx::Result<()> {
        if platform::guard_removed!("booking.outbox") {
            return Ok(());
        }
        enqueue(&mut self.tx, id, message).await
    }
}
