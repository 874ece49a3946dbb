//! The program `frontend`; `frontend --help` lists its settings.

use std::process::ExitCode;

use clap::Parser;
use frontend_server::{app, config::Config};

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    platform::telemetry::init(&config.server.log);
    platform::telemetry::exit_code(app::run(config).await)
}
