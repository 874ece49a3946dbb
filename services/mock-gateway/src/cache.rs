//! The fault rules, which every request and every webhook asks for.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::store::{Store, faults::StoredRule};

/// How long rules are kept. Whoever replaces them waits as long, so that no replica applies old ones afterwards.
pub const MAX_AGE: Duration = Duration::from_millis(500);

/// Rules with the time at which reading them began.
type Copy = (Instant, Arc<[StoredRule]>);

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct RuleCache {
    copy: Arc<Mutex<Option<Copy>>>,
}

impl RuleCache {
    /// The rules, at most [`MAX_AGE`] old.
    pub async fn get(&self, store: &Store) -> sqlx::Result<Arc<[StoredRule]>> {
        if let Some((began, rules)) = self.lock().as_ref()
            && began.elapsed() < MAX_AGE
        {
            return Ok(rules.clone());
        }
        let began = Instant::now();
        let rules: Arc<[_]> = store.list_rules().await?.into();
        *self.lock() = Some((began, rules.clone()));
        Ok(rules)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Copy>> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
