//! event-service: keeps events and their seats.

use std::process::ExitCode;

use clap::Parser;
use event_service::{Config, run};

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    platform::telemetry::init(&config.service.log);
    platform::telemetry::exit_code(run(config).await)
}
