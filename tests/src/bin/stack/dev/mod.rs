//! `stack dev`: the whole platform on this machine, with data that stays, until Ctrl-C.

mod claim;
mod servers;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use eventplatform_tests::fleet::{Replica, Settings, loopback};
use eventplatform_tests::programs::{Binaries, Program};
use eventplatform_tests::proxy::{self, origin_routes};
use eventplatform_tests::secrets::Secrets;
use eventplatform_tests::servers::ensure_database;
use eventplatform_tests::{api, paths, ports};
use futures::StreamExt;
use futures::future::{FutureExt, join_all, try_join_all};

use self::claim::Claim;
use self::servers::DevServers;
use crate::console::Console;
use crate::demo;
use crate::job::Signals;

/// Runs the whole platform on this machine at one origin, with demo data, until Ctrl-C.
///
/// PostgreSQL, RabbitMQ, MongoDB and the programs listen on free ports of the loopback interface. Without PostgreSQL and
/// RabbitMQ on this machine, the servers are Docker's (compose.yaml). Data, keys and logs
/// are kept below `${XDG_CACHE_HOME:-~/.cache}/eventplatform/dev`; remove that folder to start afresh.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Port of the origin on localhost.
    #[arg(long, default_value_t = 8090)]
    port: u16,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let dir = paths::cache()?.join("dev");
    let claim = Claim::take(&dir, arguments.port)?;
    let console = Console::new();

    let platform = tokio::select! {
        platform = Platform::start(&dir, &claim, &console) => platform?,
        _ = signals.next() => {
            console.note("stopped before the platform was up");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let origin = platform.settings.public_url.clone();
    let serve = async {
        let routes = origin_routes(|program| vec![platform.settings.addresses[&program]]);
        try_join_all(claim.listeners()?.into_iter().map(|listener| proxy::serve(listener, routes.clone()))).await
    };
    let follow = async {
        let accounts = demo::fill(&origin, &platform.settings.secrets, &console).await;
        console.show(&origin, &accounts);
        console.follow(&platform.settings.log_dir);
        platform.report_ends(&console).await;
    };
    let result = tokio::select! {
        served = serve => served.map(|_| ()),
        () = follow => Ok(()),
        _ = signals.next() => Ok(()),
    };
    console.note("stopping");
    platform.stop().await?;
    console.note("everything has stopped; the data stays for the next run");
    result.map(|()| ExitCode::SUCCESS)
}

/// Everything that was started. Dropping it stops it too, only less gently.
struct Platform {
    replicas: Vec<Replica>,
    servers: DevServers,
    settings: Arc<Settings>,
}

impl Platform {
    async fn start(dir: &std::path::Path, claim: &Claim, console: &Console) -> Result<Self> {
        let secrets = Secrets::ensure(&dir.join("secrets"))?;
        let log_dir = fresh_folder(dir.join("logs"))?;
        let password = secrets.read("server-password")?;
        let servers = console.step("PostgreSQL, RabbitMQ and MongoDB started", DevServers::start(dir, &password));
        let (servers, binaries) = tokio::try_join!(servers, console.step("programs there", Binaries::locate()))?;

        let settings = Arc::new(Settings {
            binaries,
            log_dir,
            sinks: Some(console.sinks()),
            public_url: claim.origin(),
            postgres_urls: databases(&servers.postgres_url(), &secrets).await?,
            amqp_url: servers.amqp_url(),
            mongodb_url: servers.mongodb_url(),
            mongodb_suffix: String::new(),
            addresses: addresses()?,
            admin_email: demo::ADMIN_EMAIL.to_owned(),
            extra: vec![(Program::User, "ADMIN_PASSWORD_FILE", demo::password_file(&secrets)?)],
            detour: None,
            secrets,
        });
        let schemas = Program::ALL.into_iter().filter(|program| program.has_schema());
        let migrations = try_join_all(schemas.map(|program| settings.run(program, "migrate")));
        console.step("schemas up to date", migrations).await?;

        let replicas = settings.addresses.iter();
        let replicas = replicas.map(|(program, address)| Replica::start(&settings, *program, 0, *address));
        let replicas: Vec<Replica> = replicas.collect::<Result<_>>()?;
        let http = api::http_client();
        try_join_all(replicas.iter().map(|replica| {
            let step = format!("{} ready", replica.name());
            console.step(step, replica.ready(&http))
        }))
        .await?;
        Ok(Self { replicas, servers, settings })
    }

    /// Reports everything that ends by itself, for as long as this future is polled.
    async fn report_ends(&self, console: &Console) {
        let mut ends = self.servers.ends();
        for replica in &self.replicas {
            ends.push(async { (replica.name().to_owned(), replica.ended().await) }.boxed());
        }
        while let Some((name, status)) = ends.next().await {
            let status = status.map(|status| status.to_string()).unwrap_or_default();
            console.warn(&format!("{name} ended by itself ({status}); press Ctrl-C and start again"));
        }
    }

    async fn stop(self) -> Result<()> {
        join_all(self.replicas.iter().map(Replica::stop)).await;
        self.servers.stop().await
    }
}

fn fresh_folder(dir: PathBuf) -> Result<PathBuf> {
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            bail!("cannot empty {}: {error}", dir.display())
        }
        _ => fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?,
    }
    Ok(dir)
}

async fn databases(superuser_url: &str, secrets: &Secrets) -> Result<BTreeMap<Program, String>> {
    let mut urls = BTreeMap::new();
    for (program, name) in [(Program::User, "users"), (Program::Booking, "bookings"), (Program::MockGateway, "gateway")]
    {
        let password = secrets.read(&format!("{name}-database-password"))?;
        urls.insert(program, ensure_database(superuser_url, name, &password).await?);
    }
    Ok(urls)
}

fn addresses() -> Result<BTreeMap<Program, std::net::SocketAddr>> {
    Program::ALL.into_iter().map(|program| Ok((program, loopback(ports::free()?)))).collect()
}
