//! Settings of the server, from flags or the environment.

use clap::{Parser, Subcommand};
use contracts::payment::Provider;
use platform::config::ServerArgs;
use url::Url;

/// The website of the Event Booking Platform.
#[derive(Clone, Debug, Parser)]
#[command(name = "frontend", version)]
pub struct Config {
    #[command(flatten)]
    pub server: ServerArgs,
    /// The payment provider; with `stripe`, browsers may load Stripe's card form.
    #[arg(long, env = contracts::env::PAYMENT_PROVIDER, default_value_t)]
    pub payment_provider: Provider,
    /// Base URL of event-service, which knows whether an event exists; without it, the page of every event is 200.
    #[arg(long, env = contracts::env::EVENT_SERVICE_URL)]
    pub event_service_url: Option<Url>,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Clone, Copy, Debug, Default, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM (the default).
    #[default]
    Serve,
}
