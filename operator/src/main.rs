//! Command line of the operator.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use eventplatform_operator::{crdgen, install, run, settings::Settings};
use platform::{config::LogArgs, telemetry};

#[derive(Parser)]
#[command(version, about = "Runs event booking platforms on Kubernetes")]
struct Arguments {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the platforms of the cluster, or of one namespace, until stopped.
    Run {
        #[command(flatten)]
        settings: Box<Settings>,
        /// Address of /livez, /readyz and /metrics.
        #[arg(long, env = "ADMIN_ADDR", default_value = "0.0.0.0:9090")]
        admin_addr: SocketAddr,
    },
    /// Print the definition of the resource as YAML.
    Crd,
    /// Apply the EventPlatform in a JSON file once the API server knows the kind.
    Apply {
        #[arg(long)]
        file: PathBuf,
    },
    /// Wait until a platform is Ready and log what it waits for.
    Wait {
        /// Namespace of the platform.
        #[arg(long, default_value = "default")]
        namespace: String,
        /// Name of the platform. Without it, wait until the API server knows the kind.
        #[arg(long)]
        name: Option<String>,
        /// Time limit, in seconds.
        #[arg(long, default_value_t = 600)]
        timeout_seconds: u64,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    telemetry::init(&arguments.log);
    let result = match arguments.command {
        Command::Run { settings, admin_addr } => run::run(*settings, admin_addr).await,
        Command::Crd => crdgen::yaml().map(|yaml| print!("{yaml}")),
        Command::Apply { file } => install::apply(&file).await,
        Command::Wait { namespace, name, timeout_seconds } => {
            install::wait(&namespace, name.as_deref(), Duration::from_secs(timeout_seconds)).await
        }
    };
    telemetry::exit_code(result)
}
