//! event-service: keeps events and their seats.

use std::process::ExitCode;

use clap::Parser;
use event_service::{app, config::Config};

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    platform::telemetry::init(&config.server.log);
    platform::telemetry::exit_code(Box::pin(app::run(config)).await)
}
