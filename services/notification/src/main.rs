//! notification-service: tells people what became of their bookings and events.

use std::process::ExitCode;

use clap::Parser;
use notification_service::{Config, run};

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    platform::telemetry::init(&config.service.log);
    platform::telemetry::exit_code(run(config).await)
}
