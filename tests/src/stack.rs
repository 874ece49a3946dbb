//! A whole platform for a test: servers, replicas of every program, one origin.
//!
//! PostgreSQL and MongoDB are those of `stack servers`, in databases of the platform's own, unless the test wants to
//! stop them; RabbitMQ is always its own. Everything ends when the [`Stack`] is dropped or the test process ends.

use std::collections::BTreeMap;
use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::{join_all, try_join_all};
use mongodb::{Client as MongoClient, Database};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::fleet::{Detour, Replica, Settings, loopback};
use crate::programs::{Binaries, Program};
use crate::proxy::{self, Route, origin_routes};
use crate::secrets::Secrets;
use crate::servers::{
    Durability, MongoDb, Postgres, RabbitMq, Servers, ensure_database, random_password, scratch_folder,
};
use crate::{api, ports};

/// The first admin of every test platform.
pub const ADMIN_EMAIL: &str = "admin@platform.example";

/// What a test wants of its platform.
#[derive(Default)]
pub struct Options {
    /// How many replicas of each service and the gateway; the frontend has one. 0 counts as 1.
    pub replicas: usize,
    /// Starts PostgreSQL and MongoDB too, so that the test may stop and kill them.
    pub own_servers: bool,
    /// Takes these servers instead of those that `TEST_POSTGRES_URL` and `TEST_MONGODB_URL` name.
    pub server_urls: Option<ServerUrls>,
    /// Takes these programs instead of those that [`Binaries::locate`] finds or builds.
    pub binaries: Option<Binaries>,
    /// Further variables of single programs, such as `HOLD_SECONDS`.
    pub environment: Vec<(Program, &'static str, String)>,
    /// Stands between programs and what they talk to.
    pub detour: Option<Detour>,
}

/// Servers that a platform shares with others, in databases of its own.
#[derive(Clone, Debug)]
pub struct ServerUrls {
    /// PostgreSQL, as somebody who may create roles and databases.
    pub postgres: String,
    /// MongoDB.
    pub mongodb: String,
}

/// A running platform.
pub struct Stack {
    /// The one origin, such as `http://localhost:41234`.
    pub origin: String,
    /// Keys and passwords.
    pub secrets: Secrets,
    replicas: BTreeMap<Program, Vec<Replica>>,
    _proxies: Proxies,
    /// RabbitMQ.
    pub rabbitmq: RabbitMq,
    /// PostgreSQL, with [`Options::own_servers`].
    pub postgres: Option<Postgres>,
    /// MongoDB, with [`Options::own_servers`].
    pub mongodb: Option<MongoDb>,
    pub(crate) settings: Arc<Settings>,
    folder: TempDir,
}

impl Stack {
    /// Starts a platform and waits until every replica is ready.
    pub async fn start(options: Options) -> Result<Self> {
        let folder = scratch_folder()?;
        let dir = |name| folder.path().join(name);
        let binaries = match options.binaries {
            Some(binaries) => binaries,
            None => Binaries::locate().await?,
        };
        let (rabbitmq_dir, password) = (dir("rabbitmq"), random_password());
        let (rabbitmq, own) = tokio::try_join!(
            RabbitMq::start(&rabbitmq_dir, &password),
            OwnServers::start(folder.path(), &password, options.own_servers),
        )?;
        let servers = match (own.urls(), options.server_urls) {
            (Some(urls), _) | (None, Some(urls)) => urls,
            (None, None) => ServerUrls::from_environment()?,
        };

        let suffix = format!("_{}", &Uuid::new_v4().simple().to_string()[..12]);
        let origin_listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        let places = Places::choose(options.replicas.max(1))?;
        let secrets = Secrets::ensure(&dir("secrets"))?;
        let origin = format!("http://localhost:{}", origin_listener.local_addr()?.port());
        std::fs::create_dir(dir("logs"))?;
        let settings = Arc::new(Settings {
            binaries,
            secrets: secrets.clone(),
            log_dir: dir("logs"),
            sinks: None,
            public_url: origin.clone(),
            postgres_urls: databases(&servers.postgres, &suffix).await?,
            amqp_url: rabbitmq.url(),
            mongodb_url: servers.mongodb,
            mongodb_suffix: suffix,
            addresses: places.reached_at.clone(),
            admin_email: ADMIN_EMAIL.to_owned(),
            extra: options.environment,
            detour: options.detour,
        });
        let schemas = Program::ALL.into_iter().filter(|program| program.has_schema());
        try_join_all(schemas.map(|program| settings.run(program, "migrate"))).await?;

        let proxies = places.start_proxies(origin_listener)?;
        let replicas = places.start_replicas(&settings)?;
        let http = api::http_client();
        try_join_all(replicas.values().flatten().map(|replica| replica.ready(&http))).await?;
        let OwnServers { postgres, mongodb } = own;
        Ok(Self { origin, secrets, replicas, _proxies: proxies, rabbitmq, postgres, mongodb, settings, folder })
    }

    /// The replicas of a program.
    pub fn replicas(&self, program: Program) -> &[Replica] {
        &self.replicas[&program]
    }

    /// The first, mostly the only, replica of a program.
    pub fn program(&self, program: Program) -> &Replica {
        &self.replicas[&program][0]
    }

    /// Where a program is reached, whichever of its replicas lives.
    pub fn address(&self, program: Program) -> SocketAddr {
        self.settings.addresses[&program]
    }

    /// What the replicas of a program have logged so far.
    pub fn logs(&self, program: Program) -> Result<String> {
        let files = self.replicas(program).iter().map(|replica| format!("{}.log", replica.name()));
        let logs = files.map(|file| std::fs::read_to_string(self.settings.log_dir.join(file)).context("no log"));
        logs.collect()
    }

    /// A small pool of connections to a program's PostgreSQL database, for checks.
    pub async fn database(&self, program: Program) -> Result<PgPool> {
        let url = self.settings.postgres_urls.get(&program).context("this program has no PostgreSQL database")?;
        let options = PgPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_secs(10));
        Ok(options.connect(url).await?)
    }

    /// A program's MongoDB database, for checks.
    pub async fn documents(&self, program: Program) -> Result<Database> {
        let base = if program == Program::Event { "events" } else { "notifications" };
        let client = MongoClient::with_uri_str(&self.settings.mongodb_url).await?;
        Ok(client.database(&format!("{base}{}", self.settings.mongodb_suffix)))
    }

    /// Stops everything gently and removes its data. Dropping a platform does the same with less patience.
    pub async fn stop(self) -> Result<()> {
        join_all(self.replicas.values().flatten().map(Replica::stop)).await;
        self.rabbitmq.stop().await;
        if let Some(mongodb) = &self.mongodb {
            mongodb.stop().await;
        }
        if let Some(postgres) = &self.postgres {
            postgres.stop().await;
            postgres.remove_data()?;
        }
        Ok(self.folder.close()?)
    }

    /// Runs another subcommand of a program with its settings, such as `redrive-dead-letters`, to its end.
    pub async fn run(&self, program: Program, subcommand: &'static str) -> Result<()> {
        self.settings.run(program, subcommand).await
    }
}

/// The threads of the proxies. A runtime must not be dropped, which would block, inside of another one.
struct Proxies(Option<Runtime>);

impl Drop for Proxies {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Where the programs of one platform listen, and by which address each is reached.
struct Places {
    replicas: BTreeMap<Program, Vec<SocketAddr>>,
    reached_at: BTreeMap<Program, SocketAddr>,
}

impl Places {
    fn choose(replicas: usize) -> Result<Self> {
        let mut places = Self { replicas: BTreeMap::new(), reached_at: BTreeMap::new() };
        for program in Program::ALL {
            let count = if program == Program::Frontend { 1 } else { replicas };
            let addresses: Vec<SocketAddr> = (0..count).map(|_| ports::free().map(loopback)).collect::<Result<_>>()?;
            let reached_at = if count == 1 { addresses[0] } else { loopback(ports::free()?) };
            places.reached_at.insert(program, reached_at);
            places.replicas.insert(program, addresses);
        }
        Ok(places)
    }

    /// Starts the origin and, before programs with several replicas, what spreads requests over them. They run on
    /// threads of their own, for a platform outlives the test that started it.
    fn start_proxies(&self, origin: std::net::TcpListener) -> Result<Proxies> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.spawn(proxy::serve(origin, origin_routes(|program| self.replicas[&program].clone())));
        for (program, addresses) in self.replicas.iter().filter(|(_, addresses)| addresses.len() > 1) {
            let listener = std::net::TcpListener::bind(self.reached_at[program])?;
            runtime.spawn(proxy::serve(listener, vec![Route::new("/", addresses.clone())]));
        }
        Ok(Proxies(Some(runtime)))
    }

    fn start_replicas(&self, settings: &Arc<Settings>) -> Result<BTreeMap<Program, Vec<Replica>>> {
        let start = |program: Program, addresses: &Vec<SocketAddr>| {
            let replicas = addresses.iter().enumerate();
            replicas
                .map(|(number, address)| Replica::start(settings, program, number, *address))
                .collect::<Result<Vec<_>>>()
        };
        self.replicas.iter().map(|(program, addresses)| Ok((*program, start(*program, addresses)?))).collect()
    }
}

/// PostgreSQL and MongoDB of one platform alone.
#[derive(Default)]
struct OwnServers {
    postgres: Option<Postgres>,
    mongodb: Option<MongoDb>,
}

impl OwnServers {
    async fn start(dir: &Path, password: &str, wanted: bool) -> Result<Self> {
        if !wanted {
            return Ok(Self::default());
        }
        let (postgres, mongodb) = (dir.join("postgres"), dir.join("mongodb"));
        let postgres = Postgres::start(&postgres, Durability::Synced, password);
        let (postgres, mongodb) = tokio::try_join!(postgres, MongoDb::start(&mongodb))?;
        Ok(Self { postgres: Some(postgres), mongodb: Some(mongodb) })
    }

    fn urls(&self) -> Option<ServerUrls> {
        let (postgres, mongodb) = (self.postgres.as_ref()?.url(), self.mongodb.as_ref()?.url());
        Some(ServerUrls { postgres, mongodb })
    }
}

impl ServerUrls {
    fn from_environment() -> Result<Self> {
        let url = |name: &str| {
            env::var(name).with_context(|| {
                format!("{name} is not set; run `make test`, or `stack servers -- cargo test -p eventplatform-tests`")
            })
        };
        Ok(Self { postgres: url("TEST_POSTGRES_URL")?, mongodb: url("TEST_MONGODB_URL")? })
    }
}

impl From<&Servers> for ServerUrls {
    fn from(servers: &Servers) -> Self {
        Self { postgres: servers.postgres.url(), mongodb: servers.mongodb.url() }
    }
}

async fn databases(superuser_url: &str, suffix: &str) -> Result<BTreeMap<Program, String>> {
    let mut urls = BTreeMap::new();
    for (program, name) in [(Program::User, "users"), (Program::Booking, "bookings"), (Program::MockGateway, "gateway")]
    {
        let url = ensure_database(superuser_url, &format!("{name}{suffix}"), &random_password()).await?;
        urls.insert(program, url);
    }
    Ok(urls)
}
