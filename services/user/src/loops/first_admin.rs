//! Creates the first admin, from ADMIN_EMAIL and ADMIN_PASSWORD, while there is no active admin.

use std::time::Duration;

use anyhow::{Context, anyhow};
use platform::{
    Lifecycle,
    task::{Progress, supervise},
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{Email, Password},
    state::AppState,
};

const RETRY_INTERVAL: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct FirstAdmin {
    email: Email,
    password: Password,
}

impl FirstAdmin {
    /// Fails if one of the settings is invalid.
    pub fn parse(email: &str, password: &str) -> anyhow::Result<Self> {
        let email = Email::parse(email).map_err(anyhow::Error::msg).context("ADMIN_EMAIL")?;
        let password = Password::parse(password).map_err(anyhow::Error::msg).context("ADMIN_PASSWORD")?;
        Ok(Self { email, password })
    }

    /// Creates the admin unless there is an active one or a user has the address. Never changes an existing user.
    pub async fn create(&self, state: &AppState) -> anyhow::Result<()> {
        // Looked up first, so that the admin of another replica is not taken for a user who has the address.
        let address_is_taken = state.store.find_credentials(&self.email).await?.is_some();
        if state.store.has_active_admin().await? {
            return Ok(());
        }
        if address_is_taken {
            tracing::warn!("nobody is an active admin, and a user has ADMIN_EMAIL; no admin was created");
            return Ok(());
        }
        // Not checked at start: a weak password of an existing admin must not keep a new version from starting.
        self.password.check_strength(self.email.as_str()).map_err(anyhow::Error::msg).context("ADMIN_PASSWORD")?;
        let hash = state.hasher.hash(self.password.clone()).await.map_err(|error| anyhow!("{error}"))?;
        if state.store.insert_first_admin(&self.email, &hash).await? {
            tracing::info!("first admin created");
        }
        Ok(())
    }
}

pub fn start(lifecycle: &Lifecycle, state: &AppState, admin: &FirstAdmin) {
    let (admin, state, stop) = (admin.clone(), state.clone(), lifecycle.stopping());
    supervise(lifecycle, "first_admin", move |progress| {
        retry_until_created(admin.clone(), state.clone(), stop.clone(), progress)
    });
}

/// Retries until the database answers and has its schema.
async fn retry_until_created(admin: FirstAdmin, state: AppState, stop: CancellationToken, progress: Progress) {
    while let Err(error) = admin.create(&state).await {
        progress.failed(&error.context("the first admin is not created yet"));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY_INTERVAL) => {}
        }
    }
}
