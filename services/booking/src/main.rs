//! The program `booking-service`; `booking-service --help` tells what it takes.

use std::process::ExitCode;

use booking_service::{config::Config, run};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    platform::telemetry::init(&config.service.log);
    platform::telemetry::exit_code(run(config).await)
}
