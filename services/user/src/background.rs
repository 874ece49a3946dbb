//! What runs beside the requests: the first admin is made, the key folder watched, old rows and idle memory given up.

use std::time::Duration;

use anyhow::{Context, anyhow};
use contracts::identity::Role;
use platform::{config::secret, server::Lifecycle};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    domain::{Email, Password},
    state::AppState,
};

const RELOAD_KEYS_EVERY: Duration = Duration::from_secs(10);
const RELEASE_MEMORY_EVERY: Duration = Duration::from_secs(15);
const PURGE_EVERY: Duration = Duration::from_secs(600);
const RETRY_FIRST_ADMIN_AFTER: Duration = Duration::from_secs(2);

/// Who is made an admin at start.
#[derive(Clone)]
pub struct FirstAdmin {
    email: Email,
    password: Password,
}

impl FirstAdmin {
    /// By ADMIN_EMAIL and ADMIN_PASSWORD, if they are set. Fails when one is missing or unfit.
    pub fn from_config(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(email) = &config.admin_email else {
            let alone = config.admin_password.is_some() || config.admin_password_file.is_some();
            return if alone { Err(anyhow!("set ADMIN_EMAIL too, or no ADMIN_PASSWORD")) } else { Ok(None) };
        };
        let email = Email::parse(email).map_err(anyhow::Error::msg).context("ADMIN_EMAIL")?;
        let password = secret("ADMIN_PASSWORD", config.admin_password.as_deref(), config.admin_password_file.as_ref())?;
        let password = Password::parse(password.expose()).map_err(anyhow::Error::msg).context("ADMIN_PASSWORD")?;
        Ok(Some(Self { email, password }))
    }

    /// Makes the admin unless somebody has the address. Never changes anybody.
    pub async fn ensure(&self, state: &AppState) -> anyhow::Result<()> {
        match state.store.find_credentials(&self.email).await? {
            Some(found) if found.user.role == Role::Admin => return Ok(()),
            Some(_) => {
                tracing::warn!("ADMIN_EMAIL belongs to somebody who is no admin; nobody was made one");
                return Ok(());
            }
            None => {}
        }
        let hash = state.hasher.hash(self.password.clone()).await.map_err(|error| anyhow!("{error}"))?;
        state.store.insert_admin(&self.email, &hash).await?;
        tracing::info!("first admin made");
        Ok(())
    }
}

/// Starts the loops; they end with the process.
pub fn start(lifecycle: &Lifecycle, state: AppState, first_admin: Option<FirstAdmin>) {
    if let Some(admin) = first_admin {
        lifecycle.spawn(make_first_admin(admin, state.clone(), lifecycle.stopping()));
    }
    lifecycle.spawn(reload_keys(state.clone(), lifecycle.stopping()));
    lifecycle.spawn(release_memory(state.clone(), lifecycle.stopping()));
    lifecycle.spawn(purge(state, lifecycle.stopping()));
}

/// Tries until the database answers and has its schema.
async fn make_first_admin(admin: FirstAdmin, state: AppState, stop: CancellationToken) {
    while let Err(error) = admin.ensure(&state).await {
        tracing::warn!(error = format!("{error:#}"), "first admin not made yet");
        if !pause(&stop, RETRY_FIRST_ADMIN_AFTER).await {
            return;
        }
    }
}

async fn reload_keys(state: AppState, stop: CancellationToken) {
    while pause(&stop, RELOAD_KEYS_EVERY).await {
        match state.signing.reload().await {
            Ok(false) => {}
            Ok(true) => {
                let jwks = state.signing.jwks();
                let kids: Vec<_> = jwks.keys.iter().map(|key| key.kid.as_str()).collect();
                tracing::info!(?kids, "signing keys changed");
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "signing keys not read again; the present ones stay");
            }
        }
    }
}

async fn release_memory(state: AppState, stop: CancellationToken) {
    while pause(&stop, RELEASE_MEMORY_EVERY).await {
        state.hasher.release_idle();
    }
}

async fn purge(state: AppState, stop: CancellationToken) {
    while pause(&stop, PURGE_EVERY).await {
        let purged = async {
            let rows = state.store.purge(state.rules.refresh_token_days).await?;
            Ok::<_, sqlx::Error>(rows + state.idempotency.purge().await?)
        };
        match purged.await {
            Ok(rows) => tracing::debug!(rows, "old rows removed"),
            Err(error) => tracing::warn!(%error, "old rows not removed"),
        }
    }
}

/// Waits; false if the process stops.
async fn pause(stop: &CancellationToken, time: Duration) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(time) => true,
    }
}
