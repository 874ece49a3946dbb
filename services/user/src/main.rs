//! The program: reads its settings and runs what was asked for.

use std::process::ExitCode;

use clap::Parser;
use platform::telemetry;
use user_service::config::Arguments;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    telemetry::init(&arguments.config.service.log);
    telemetry::exit_code(user_service::run(arguments).await)
}
