//! Limits how many passwords of one client a replica verifies at a time.

use std::{array, sync::Arc};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::domain::RateLimit;

const SHARDS: u8 = 64;

/// Lets a client verify two passwords at a time. Each attempt counts as a failure until its password proves right, so
/// more at once would exceed the limit even if all passwords are right.
#[derive(Clone, Debug)]
pub struct AttemptLimiter(Arc<[Semaphore; SHARDS as usize]>);

impl Default for AttemptLimiter {
    fn default() -> Self {
        Self(Arc::new(array::from_fn(|_| Semaphore::new(2))))
    }
}

impl AttemptLimiter {
    /// Waits until an attempt under `limit` may begin. Limits that share a shard by chance also wait for each other.
    pub async fn acquire(&self, limit: &RateLimit) -> Option<SemaphorePermit<'_>> {
        let shard = limit.key.first().map_or(0, |byte| usize::from(byte % SHARDS));
        // The semaphores are never closed.
        self.0[shard].acquire().await.ok()
    }
}
