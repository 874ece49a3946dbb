//! Readiness: named checks of what a program depends on. Liveness depends on nothing.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::Instant;

/// How long [`wait_until_available`] waits.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

type Check = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// The checks that `/readyz` runs, all at once, each for at most two seconds.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Vec<(&'static str, Check)>,
}

impl Readiness {
    /// Adds the check of a dependency, such as `postgres`.
    #[must_use]
    pub fn with<F, Fut>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.checks.push((name, Arc::new(move || Box::pin(check()))));
        self
    }

    /// The failed checks, as `name: reason`; empty if all dependencies answer.
    pub async fn failures(&self) -> Vec<String> {
        let checks = self.checks.iter().map(|(name, check)| async move {
            match tokio::time::timeout(Duration::from_secs(2), check()).await {
                Ok(Ok(())) => None,
                Ok(Err(reason)) => Some(format!("{name}: {reason}")),
                Err(_) => Some(format!("{name}: no answer within 2 s")),
            }
        });
        join_all(checks).await.into_iter().flatten().collect()
    }
}

/// Waits until a server answers; fails after a minute.
///
/// For one-off commands such as migrations: the network policies of a new pod may take effect some seconds after it
/// starts.
pub async fn wait_until_available<F, Fut>(server: &str, ping: F) -> anyhow::Result<()>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), String>>,
{
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while let Err(error) = ping().await {
        anyhow::ensure!(Instant::now() < deadline, "{server} is unavailable: {error}");
        tracing::warn!(server, error, "a server is unavailable; trying again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
