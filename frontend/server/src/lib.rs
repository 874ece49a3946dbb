//! frontend: the site in `frontend/`, embedded at build time and served with strict headers. It keeps no state, sets
//! no cookies, and serves the site whether or not other services answer.
//!
//! - [`routes`]: the URL table; [`assets`]: the embedded files and how one is answered
//! - [`events`]: which events exist, for the status of their pages
//! - [`headers`]: what the browser is told to refuse; `lean`: what is sent of style sheet and page

pub mod assets;
pub mod events;
pub mod headers;
#[cfg(test)]
mod lean;
pub mod routes;

use clap::{Parser, Subcommand};
pub use contracts::payment::Provider as PaymentProvider;
use platform::{Lifecycle, config::ServerArgs, health::Readiness, server};
use url::Url;

use crate::events::Events;

/// The website of the Event Booking Platform.
#[derive(Parser)]
#[command(name = "frontend", version)]
pub struct Arguments {
    /// What to do; `serve` if absent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings.
    #[command(flatten)]
    pub service: ServerArgs,
    /// Who moves the money; `stripe` lets the browser load Stripe's card form.
    #[arg(long, env = contracts::env::PAYMENT_PROVIDER, default_value_t)]
    pub payment_provider: PaymentProvider,
    /// URL of event-service, to ask whether an event exists before its page is served; without it every event's page is
    /// 200.
    #[arg(long, env = contracts::env::EVENT_SERVICE_URL)]
    pub event_service_url: Option<Url>,
}

/// What to do.
#[derive(Clone, Copy, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM.
    Serve,
}

/// Does what the command line asks for: there is nothing but serving.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let events = Events::new(arguments.event_service_url.as_ref());
    let router = routes::router(arguments.payment_provider, events);
    server::serve(&arguments.service, router, Readiness::default(), Lifecycle::new()).await
}
