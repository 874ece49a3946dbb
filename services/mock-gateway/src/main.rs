//! The program `mock-gateway`.

use std::process::ExitCode;

use clap::Parser;
use mock_gateway::config::Config;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    platform::telemetry::init(&config.service.log);
    platform::telemetry::exit_code(mock_gateway::run(config).await)
}
