//! The program: reads its settings and serves the site.

use std::process::ExitCode;

use clap::Parser;
use frontend_server::Arguments;
use platform::telemetry;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    telemetry::init(&arguments.service.log);
    telemetry::exit_code(frontend_server::run(&arguments).await)
}
