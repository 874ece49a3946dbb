//! The seed's stack: the programs in `bench/peers`, which `bench/peers/install` builds.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bson::doc;
use eventplatform_tests::{
    api,
    fleet::Peer,
    paths, ports,
    process::{Process, Spec},
    servers::{Servers, ensure_database, random_password},
    wait,
};
use mongodb::{Database, IndexModel};
use sqlx::{Connection, PgConnection};

use crate::{contender::Contender, wire::Wires};

pub(crate) const NAME: &str = "seed's stack";
const START_LIMIT: Duration = Duration::from_secs(180);
const STOP_PATIENCE: Duration = Duration::from_secs(10);
const SCHEMA: &str = include_str!("../peers/schema.sql");

/// The running programs of the seed's stack.
pub(crate) struct Peers {
    database_url: String,
    events: Database,
    notifications: Database,
    ports: Ports,
    processes: Vec<Process>,
}

struct Ports {
    users: u16,
    events: u16,
    bookings: u16,
    notifications: u16,
}

impl Peers {
    /// Starts them on the shared servers and waits until each answers. `wires` count what they send.
    pub(crate) async fn start(servers: &Servers, wires: Option<&Wires>) -> Result<Self> {
        let database_url = ensure_database(&servers.postgres.url(), "seed", &random_password()).await?;
        let mongodb = servers.mongodb.client().await?;
        let ports = Ports {
            users: ports::free()?,
            events: ports::free()?,
            bookings: ports::free()?,
            notifications: ports::free()?,
        };
        let mut peers = Self {
            database_url,
            events: mongodb.database("seed_events"),
            notifications: mongodb.database("seed_notifications"),
            ports,
            processes: Vec::new(),
        };
        peers.reset().await?;
        for spec in peers.programs(servers, wires)? {
            peers.processes.push(spec.spawn()?);
        }
        peers.ready().await?;
        Ok(peers)
    }

    /// Makes the schema where there is none, and removes all data.
    pub(crate) async fn reset(&self) -> Result<()> {
        let mut connection = PgConnection::connect(&self.database_url).await?;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
        connection.close().await?;
        for (database, collection, index) in [
            (&self.events, "events", doc! { "status": 1, "_id": 1 }),
            (&self.notifications, "notifications", doc! { "user_id": 1, "_id": -1 }),
        ] {
            let collection = database.collection::<bson::Document>(collection);
            collection.drop().await?;
            collection.create_index(IndexModel::builder().keys(index).build()).await?;
        }
        Ok(())
    }

    /// How many notifications are stored.
    pub(crate) async fn count_notifications(&self) -> Result<u64> {
        Ok(self.notifications.collection::<bson::Document>("notifications").count_documents(doc! {}).await?)
    }

    /// The seed's stack as a contender.
    pub(crate) async fn contender(&self, servers: &Servers) -> Result<Contender> {
        let at = |port| format!("http://127.0.0.1:{port}");
        Ok(Contender {
            name: NAME,
            users: at(self.ports.users),
            events: at(self.ports.events),
            bookings: at(self.ports.bookings),
            notifications: at(self.ports.notifications),
            programs: PROGRAMS.into_iter().zip(self.processes.iter().map(Process::pid)).collect(),
            rabbitmq: servers.rabbitmq.pid().await.context("RabbitMQ has ended")?,
            event_metrics: None,
        })
    }

    /// Stops them; their data stays until the next ones start.
    pub(crate) async fn stop(self) {
        for process in self.processes {
            process.stop(STOP_PATIENCE).await;
        }
    }

    fn programs(&self, servers: &Servers, wires: Option<&Wires>) -> Result<[Spec; 5]> {
        let (cache, logs) = (paths::cache()?.join("peers"), paths::cargo_target()?.join("bench"));
        let (python, jar) = (cache.join("venv/bin"), cache.join("event/event-service.jar"));
        std::fs::create_dir_all(&logs)?;
        ensure!(jar.is_file(), "{} is missing; run bench/peers/install", jar.display());
        let java = paths::on_path("java").context("no java on PATH: run .ci/install bench")?;

        let event_service = format!("http://127.0.0.1:{}", self.ports.events);
        let mongodb_url = format!("{}&w=majority&journal=true", servers.mongodb.url());
        let through = |program: &'static str, peer: Peer, url: &str| match wires {
            Some(wires) => wires.lead(NAME, program, peer, url),
            None => Ok(url.to_owned()),
        };
        let secret = random_password() + &random_password();
        let program = |name: &'static str, path| {
            Spec::new(name, path)
                .clean_environment()
                .dir(paths::workspace().join("bench/peers"))
                .env("JWT_SECRET", &secret)
                .env("PYTHONPYCACHEPREFIX", cache.join("pycache"))
                .env("EVENT_SERVICE_URL", &event_service)
                .env("AMQP_URL", servers.rabbitmq.url())
                .log_to(logs.join(format!("{name}.log")))
        };
        let flask = |name, module: &str, port: u16| {
            program(name, python.join("gunicorn"))
                .args(["--worker-class=gthread", "--workers=2", "--threads=8", "--keep-alive=75"])
                .args(["--no-control-socket", "--worker-tmp-dir=/dev/shm"])
                .args([format!("--bind=127.0.0.1:{port}"), format!("{module}:app")])
        };
        let [users, events, bookings, notifications, consumer] = PROGRAMS;
        Ok([
            program(users, python.join("uvicorn"))
                .args(["users:app", "--host=127.0.0.1", "--workers=2", "--loop=uvloop", "--http=httptools"])
                .args(["--timeout-keep-alive=75", "--no-access-log", "--log-level=warning"])
                .args([format!("--port={}", self.ports.users)])
                .env("DATABASE_URL", &self.database_url),
            program(events, java)
                .args(["-Xmx512m".as_ref(), "-jar".as_ref(), jar.as_os_str()])
                .env("PORT", self.ports.events.to_string())
                .env("MONGODB_URL", through(events, Peer::MongoDb, &mongodb_url)?),
            flask(bookings, "bookings", self.ports.bookings)
                .env("DATABASE_URL", through(bookings, Peer::Postgres, &self.database_url)?),
            flask(notifications, "notifications", self.ports.notifications)
                .env("MONGODB_URL", through(notifications, Peer::MongoDb, &mongodb_url)?),
            program(consumer, python.join("python"))
                .args(["consumer.py"])
                .env("MONGODB_URL", through(notifications, Peer::MongoDb, &mongodb_url)?),
        ])
    }

    async fn ready(&self) -> Result<()> {
        let http = api::http_client();
        // 401 comes from a service that wants a token.
        for (port, path, status) in [
            (self.ports.events, "/api/events", 200),
            (self.ports.users, "/users/events", 200),
            (self.ports.bookings, "/bookings/1", 401),
            (self.ports.notifications, "/notifications/1", 401),
        ] {
            let url = format!("http://127.0.0.1:{port}{path}");
            wait::until(format!("{url} answers"), START_LIMIT, async || {
                self.processes.iter().try_for_each(Process::check_running)?;
                let answer = http.get(&url).send().await?.status();
                ensure!(answer.as_u16() == status, "{answer}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}

/// Named like those of the platform, where there is such a one.
const PROGRAMS: [&str; 5] =
    ["user-service", "event-service", "booking-service", "notification-service", "notification-consumer"];
