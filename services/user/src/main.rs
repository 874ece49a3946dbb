//! The program `user-service`; `user-service --help` lists its settings.

use std::process::ExitCode;

use clap::Parser;
use user_service::{app, config::Config};

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    platform::telemetry::init(&config.server.log);
    platform::telemetry::exit_code(app::run(config).await)
}
