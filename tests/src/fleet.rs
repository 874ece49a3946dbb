//! The platform's programs as child processes: their settings, their replicas, their readiness.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
#[cfg(debug_assertions)]
use platform::failpoint::FaultConfig;
use reqwest::Client;
use rustix::process::Signal;

use crate::process::{Daemon, LineSink, Spec};
use crate::programs::{Binaries, Program};
use crate::secrets::Secrets;
use crate::{ports, wait};

const READY_LIMIT: Duration = Duration::from_secs(30);
const STOP_PATIENCE: Duration = Duration::from_secs(25);

/// What a program talks to.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Peer {
    /// The PostgreSQL database of its own.
    Postgres,
    /// RabbitMQ.
    RabbitMq,
    /// MongoDB.
    MongoDb,
    /// Another program.
    Program(Program),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "PostgreSQL",
            Self::RabbitMq => "RabbitMQ",
            Self::MongoDb => "MongoDB",
            Self::Program(program) => program.name(),
        })
    }
}

/// A replica of a program, by its number.
pub type Caller = (Program, usize);

/// Turns the URL by which a replica reaches a peer into the one it is given, so that something can stand between them.
pub type Detour = Arc<dyn Fn(Caller, Peer, String) -> String + Send + Sync>;

/// Makes the sink for the lines of a program of that name.
pub type Sinks = Arc<dyn Fn(&str) -> LineSink + Send + Sync>;

/// What all programs of one platform have to know.
pub struct Settings {
    /// The built programs.
    pub binaries: Binaries,
    /// Keys and passwords.
    pub secrets: Secrets,
    /// Where each program's log file goes.
    pub log_dir: PathBuf,
    /// Takes the programs' lines too, if given.
    pub sinks: Option<Sinks>,
    /// The origin that browsers see.
    pub public_url: String,
    /// The PostgreSQL URLs of the programs that have a database.
    pub postgres_urls: BTreeMap<Program, String>,
    /// RabbitMQ.
    pub amqp_url: String,
    /// MongoDB.
    pub mongodb_url: String,
    /// Ends the names of the MongoDB databases, so that several platforms share a server.
    pub mongodb_suffix: String,
    /// Where each program is reached by the others.
    pub addresses: BTreeMap<Program, SocketAddr>,
    /// The first admin's e-mail address.
    pub admin_email: String,
    /// Further variables, which win over the usual ones.
    pub extra: Vec<(Program, &'static str, String)>,
    /// Stands between programs and their peers, if given.
    pub detour: Option<Detour>,
}

impl Settings {
    /// The settings of one replica, but for its own addresses.
    fn environment(&self, caller: Caller) -> Result<Vec<(&'static str, OsString)>> {
        let program = caller.0;
        let mut variables: Vec<(&'static str, OsString)> = vec![
            ("PUBLIC_URL", self.public_url.clone().into()),
            ("LOG_FORMAT", "text".into()),
            ("SHUTDOWN_DELAY_SECONDS", "0".into()),
            ("DRAIN_SECONDS", "5".into()),
            ("TRUST_FORWARDED_FOR", "true".into()),
        ];
        variables.extend(match program {
            Program::User => self.user_environment(caller)?,
            Program::Event => self.event_environment(caller),
            Program::Booking => self.booking_environment(caller)?,
            Program::Notification => self.notification_environment(caller),
            Program::MockGateway => self.gateway_environment(caller)?,
            Program::Frontend => vec![("EVENT_SERVICE_URL", self.peer(caller, Program::Event, ""))],
        });
        let extra = self.extra.iter().filter(|(wanted, ..)| *wanted == program);
        variables.extend(extra.map(|(_, name, value)| (*name, OsString::from(value))));
        Ok(variables)
    }

    fn user_environment(&self, caller: Caller) -> Result<Vec<(&'static str, OsString)>> {
        Ok(vec![
            ("DATABASE_URL", self.database(caller)),
            ("AMQP_URL", self.amqp(caller)),
            ("SIGNING_KEYS_DIR", self.secrets.signing_keys().into()),
            ("REFRESH_TOKEN_KEY_FILE", self.secrets.file("refresh-token-key")?.into()),
            ("EVENT_SERVICE_URL", self.peer(caller, Program::Event, "")),
            ("ADMIN_EMAIL", self.admin_email.clone().into()),
            // Everybody registers from this machine.
            ("REGISTRATIONS_PER_ADDRESS", "1000000".into()),
            ("ADMIN_PASSWORD_FILE", self.secrets.file("admin-password")?.into()),
        ])
    }

    fn event_environment(&self, caller: Caller) -> Vec<(&'static str, OsString)> {
        vec![
            ("MONGODB_URL", self.mongodb(caller)),
            ("MONGODB_DATABASE", format!("events{}", self.mongodb_suffix).into()),
            ("AMQP_URL", self.amqp(caller)),
            ("JWKS_URL", self.peer(caller, Program::User, "/.well-known/jwks.json")),
            ("TRUSTED_SERVICE_KEYS_DIR", self.secrets.trusted_keys().into()),
            ("PAYMENT_PROVIDER", "mock".into()),
        ]
    }

    fn booking_environment(&self, caller: Caller) -> Result<Vec<(&'static str, OsString)>> {
        Ok(vec![
            ("DATABASE_URL", self.database(caller)),
            ("AMQP_URL", self.amqp(caller)),
            ("JWKS_URL", self.peer(caller, Program::User, "/.well-known/jwks.json")),
            ("EVENT_SERVICE_URL", self.peer(caller, Program::Event, "")),
            ("SERVICE_KEY_FILE", self.secrets.service_key().into()),
            ("TICKET_KEYS_DIR", self.secrets.ticket_keys().into()),
            ("PAYMENT_PROVIDER", "mock".into()),
            ("PAYMENT_API_URL", self.peer(caller, Program::MockGateway, "")),
            ("PAYMENT_API_KEY_FILE", self.secrets.file("payment-api-key")?.into()),
            ("PAYMENT_WEBHOOK_SECRET_FILE", self.secrets.file("payment-webhook-secret")?.into()),
            ("RECONCILE_SECONDS", "30".into()),
        ])
    }

    fn notification_environment(&self, caller: Caller) -> Vec<(&'static str, OsString)> {
        vec![
            ("MONGODB_URL", self.mongodb(caller)),
            ("MONGODB_DATABASE", format!("notifications{}", self.mongodb_suffix).into()),
            ("AMQP_URL", self.amqp(caller)),
            ("JWKS_URL", self.peer(caller, Program::User, "/.well-known/jwks.json")),
        ]
    }

    fn gateway_environment(&self, caller: Caller) -> Result<Vec<(&'static str, OsString)>> {
        Ok(vec![
            ("DATABASE_URL", self.database(caller)),
            ("API_KEY_FILE", self.secrets.file("payment-api-key")?.into()),
            ("WEBHOOK_URL", self.peer(caller, Program::Booking, "/payments/webhooks/mock")),
            ("WEBHOOK_SECRET_FILE", self.secrets.file("payment-webhook-secret")?.into()),
        ])
    }

    fn database(&self, caller: Caller) -> OsString {
        self.via_detour(caller, Peer::Postgres, self.postgres_urls.get(&caller.0).cloned().unwrap_or_default())
    }

    fn amqp(&self, caller: Caller) -> OsString {
        self.via_detour(caller, Peer::RabbitMq, self.amqp_url.clone())
    }

    fn mongodb(&self, caller: Caller) -> OsString {
        self.via_detour(caller, Peer::MongoDb, self.mongodb_url.clone())
    }

    fn peer(&self, caller: Caller, peer: Program, path: &str) -> OsString {
        let url = format!("http://{}{path}", self.addresses[&peer]);
        self.via_detour(caller, Peer::Program(peer), url)
    }

    fn via_detour(&self, caller: Caller, peer: Peer, url: String) -> OsString {
        self.detour.as_ref().map_or(url.clone(), |detour| detour(caller, peer, url)).into()
    }

    /// Runs a subcommand, such as `migrate`, to its end.
    pub async fn run(&self, program: Program, subcommand: &'static str) -> Result<()> {
        let spec = spec(&self.binaries, program, &self.environment((program, 0))?).args([subcommand]);
        tokio::task::spawn_blocking(|| spec.run()).await?
    }
}

fn spec(binaries: &Binaries, program: Program, environment: &[(&'static str, OsString)]) -> Spec {
    let spec = Spec::new(program.name(), binaries.path(program)).clean_environment();
    environment.iter().fold(spec, |spec, (name, value)| spec.env(name, value))
}

/// One running process of a program.
pub struct Replica {
    name: String,
    /// The public listener.
    pub address: SocketAddr,
    /// The admin listener: `/livez`, `/readyz`, `/metrics`.
    pub admin: SocketAddr,
    binaries: Arc<Mutex<Binaries>>,
    daemon: Daemon,
}

impl Replica {
    /// Starts a replica that listens at `address`. It is not ready yet.
    pub fn start(settings: &Arc<Settings>, program: Program, number: usize, address: SocketAddr) -> Result<Self> {
        let admin = loopback(ports::free()?);
        let mut environment = settings.environment((program, number))?;
        environment.push(("LISTEN_ADDR", address.to_string().into()));
        environment.push(("ADMIN_ADDR", admin.to_string().into()));
        let name = if number == 0 { program.name().to_owned() } else { format!("{}-{number}", program.name()) };

        let (settings, log_name) = (Arc::clone(settings), name.clone());
        let binaries = Arc::new(Mutex::new(settings.binaries.clone()));
        let started_from = binaries.clone();
        let daemon = Daemon::start(move || {
            let spec = spec(&started_from.lock().unwrap_or_else(PoisonError::into_inner), program, &environment)
                .log_to(settings.log_dir.join(format!("{log_name}.log")));
            match &settings.sinks {
                Some(sinks) => spec.lines_to(sinks(&log_name)),
                None => spec,
            }
        })?;
        Ok(Self { name, address, admin, binaries, daemon })
    }

    /// The program's name, and the replica's number if there are several.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until `/readyz` answers 200.
    pub async fn ready(&self, http: &Client) -> Result<()> {
        let url = format!("http://{}/readyz", self.admin);
        wait::until(format!("{} is ready", self.name), READY_LIMIT, async || -> Result<()> {
            self.daemon.check_running().await?;
            let answer = http.get(&url).send().await?;
            match answer.status().as_u16() {
                200 => Ok(()),
                status => bail!("{status}: {}", answer.text().await?),
            }
        })
        .await
    }

    /// Whether `/readyz` answers 200 right now.
    pub async fn is_ready(&self, http: &Client) -> bool {
        let answer = http.get(format!("http://{}/readyz", self.admin)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Starts it from these programs the next time.
    pub fn start_from(&self, binaries: &Binaries) {
        *self.binaries.lock().unwrap_or_else(PoisonError::into_inner) = binaries.clone();
    }

    /// Starts it again at the same addresses, unless it runs.
    pub async fn up(&self) -> Result<()> {
        self.daemon.up().await
    }

    /// Stops it as Kubernetes would: SIGTERM, then patience.
    pub async fn stop(&self) {
        self.daemon.stop(STOP_PATIENCE).await;
    }

    /// Kills it like `kill -9`.
    pub async fn kill(&self) {
        self.daemon.kill().await;
    }

    /// Sends it a signal, such as SIGSTOP or SIGCONT.
    pub async fn signal(&self, signal: Signal) {
        self.daemon.signal(signal).await;
    }

    /// Its process id while it runs.
    pub async fn pid(&self) -> Option<i32> {
        self.daemon.pid().await
    }

    /// Waits until it ends by itself.
    pub async fn ended(&self) -> Option<std::process::ExitStatus> {
        self.daemon.ended().await
    }
}

/// Failpoints are compiled into debug builds alone.
#[cfg(debug_assertions)]
impl Replica {
    /// Gives it orders about its failpoints; fails if its build has none.
    pub async fn order(&self, http: &Client, orders: &FaultConfig) -> Result<()> {
        let url = format!("http://{}/failpoints", self.admin);
        match http.put(url).json(orders).send().await?.status().as_u16() {
            204 => Ok(()),
            status => bail!("{} does not take {orders:?}: {status}", self.name),
        }
    }

    /// The orders that it has not carried out yet.
    pub async fn orders(&self, http: &Client) -> Result<FaultConfig> {
        Ok(http.get(format!("http://{}/failpoints", self.admin)).send().await?.json().await?)
    }
}

/// A loopback address with that port.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
