//! What runs beside the requests: the first admin is made, the key folder watched, old rows and idle memory given up.

use std::{future::ready, time::Duration};

use anyhow::{Context, anyhow};
use contracts::identity::Role;
use platform::{
    Lifecycle,
    config::secret,
    task::{Progress, Schedule, repeat, supervise},
};
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
        // Not checked at start, so that an admin that exists already does not keep a new version from starting.
        self.password.check_for(self.email.as_str()).map_err(anyhow::Error::msg).context("ADMIN_PASSWORD")?;
        let hash = state.hasher.hash(self.password.clone()).await.map_err(|error| anyhow!("{error}"))?;
        state.store.insert_admin(&self.email, &hash).await?;
        tracing::info!("first admin made");
        Ok(())
    }
}

/// Starts the loops; they end with the process.
pub fn start(lifecycle: &Lifecycle, state: AppState, first_admin: Option<FirstAdmin>) {
    if let Some(admin) = first_admin {
        let (s, stop) = (state.clone(), lifecycle.stopping());
        supervise(lifecycle, "first_admin", move |progress| {
            make_first_admin(admin.clone(), s.clone(), stop.clone(), progress)
        });
    }
    let s = state.clone();
    repeat(lifecycle, "signing_keys", Schedule::every(RELOAD_KEYS_EVERY), move || reload_keys(s.clone()));
    let s = state.clone();
    repeat(lifecycle, "idle_memory", Schedule::every(RELEASE_MEMORY_EVERY), move || {
        s.hasher.release_idle();
        ready(anyhow::Ok(()))
    });
    repeat(lifecycle, "purge", Schedule::every(PURGE_EVERY), move || purge(state.clone()));
}

/// Tries until the database answers and has its schema.
async fn make_first_admin(admin: FirstAdmin, state: AppState, stop: CancellationToken, progress: Progress) {
    while let Err(error) = admin.ensure(&state).await {
        progress.failed(&error.context("the first admin is not made yet"));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY_FIRST_ADMIN_AFTER) => {}
        }
    }
}

async fn reload_keys(state: AppState) -> anyhow::Result<()> {
    let changed = state.signing.reload().await.context("signing keys not read again; the present ones stay")?;
    if changed {
        let jwks = state.signing.jwks();
        let kids: Vec<_> = jwks.keys.iter().map(|key| key.kid.as_str()).collect();
        tracing::info!(?kids, "signing keys changed");
    }
    Ok(())
}

async fn purge(state: AppState) -> sqlx::Result<()> {
    let rows = state.store.purge(state.rules.refresh_token_days).await?
        + state.idempotency.purge().await?
        + state.store.outbox().purge().await?;
    tracing::debug!(rows, "old rows removed");
    Ok(())
}
