//! Builds the server from its settings, and runs it.

use axum::Router;
use contracts::payment::Provider;
use platform::{Lifecycle, health::Readiness, server};

use crate::{
    clients::event_service::EventClient,
    config::{Command, Config},
    routes,
};

/// The server, built but not yet running.
pub struct App {
    events: EventClient,
    provider: Provider,
    lifecycle: Lifecycle,
}

impl App {
    /// Builds the server; connects to nothing.
    pub fn build(config: &Config) -> Self {
        Self {
            events: EventClient::new(config.event_service_url.as_ref()),
            provider: config.payment_provider,
            lifecycle: Lifecycle::new(),
        }
    }

    pub fn router(&self) -> Router {
        routes::router(self.provider, self.events.clone())
    }

    /// Always ready: the site needs no other program.
    pub fn readiness(&self) -> Readiness {
        Readiness::default()
    }
}

/// Does what the command line asks for.
pub async fn run(config: Config) -> anyhow::Result<()> {
    match config.command.unwrap_or_default() {
        Command::Serve => {
            let app = App::build(&config);
            server::serve(&config.server, app.router(), app.readiness(), app.lifecycle).await
        }
    }
}
