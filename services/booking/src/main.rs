//! The program `booking-service`; `booking-service --help` lists its settings.

use std::process::ExitCode;

use booking_service::{app, config::Config};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    platform::telemetry::init(&config.server.log);
    platform::telemetry::exit_code(app::run(config).await)
}
