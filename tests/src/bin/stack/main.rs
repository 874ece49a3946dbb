//! `stack`: the platform, or only its servers, on a bare machine. `stack --help` tells the rest.

mod api;
mod console;
mod demo;
mod dev;
mod fuzz;
mod job;
mod platform;
mod servers;
mod sqlx;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs the platform, or only its servers, on this machine.
#[derive(Parser)]
#[command(name = "stack")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Dev(dev::Arguments),
    Demo(demo::Arguments),
    Servers(servers::Arguments),
    Platform(platform::Arguments),
    Test(test::Arguments),
    Fuzz(fuzz::Arguments),
    Api(api::Arguments),
    Sqlx(sqlx::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Dev(arguments) => Box::pin(dev::run(arguments)).await,
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Servers(arguments) => servers::run(arguments).await,
        Command::Platform(arguments) => Box::pin(platform::run(arguments)).await,
        Command::Fuzz(arguments) => Box::pin(fuzz::run(arguments)).await,
        Command::Test(arguments) => Box::pin(test::run(arguments)).await,
        Command::Api(arguments) => Box::pin(api::run(arguments)).await,
        Command::Sqlx(arguments) => sqlx::run(arguments).await,
    };
    result.unwrap_or_else(|error| {
        eprintln!("stack: {error:#}");
        ExitCode::FAILURE
    })
}
