//! The platform under test, with a link on every edge and a way into every database.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bson::{DateTime, Document, doc};
use eventplatform_tests::api::http_client;
use eventplatform_tests::fleet::Replica;
use eventplatform_tests::link::Links;
use eventplatform_tests::programs::{Binaries, Program};
use eventplatform_tests::servers::{MongoDb, Postgres};
use eventplatform_tests::stack::{Options, Stack};
use eventplatform_tests::wait;
use futures::future::{join_all, select_all, try_join_all};
use mongodb::Database;
use platform::failpoint::FaultConfig;
use reqwest::Client;
use serde_json::Value;
use sqlx::PgPool;
use tokio::time::timeout;

use crate::checker::transitions;

/// A replica that was told to die at a failpoint gets there within this time.
const KILLED_WITHIN: Duration = Duration::from_secs(20);

/// How long a late payment takes to settle.
pub(crate) const LATE_SECONDS: u64 = 4;

/// A program is ready within this time of its start, however busy the machine is.
const UP_LIMIT: Duration = Duration::from_secs(60);

/// The services.
pub(crate) const SERVICES: [Program; 4] = [Program::User, Program::Event, Program::Booking, Program::Notification];

/// Of which there are several replicas: the services, and the gateway.
pub(crate) const REPLICATED: [Program; 5] =
    [Program::User, Program::Event, Program::Booking, Program::Notification, Program::MockGateway];

/// A platform to break.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) links: Links,
    pub(crate) http: Client,
    pub(crate) users: PgPool,
    pub(crate) bookings: PgPool,
    pub(crate) gateway: PgPool,
    pub(crate) events: Database,
    pub(crate) notifications: Database,
    /// An older version's name and programs, where there is one.
    pub(crate) older: Option<(String, Binaries)>,
}

impl World {
    /// Starts it: servers of its own that write to the disk, two replicas of each service and the gateway.
    pub(crate) async fn start(hold_seconds: u64) -> Result<Self> {
        Self::start_with(hold_seconds, Options::default()).await
    }

    /// The processes of the services and the gateway that run.
    pub(crate) async fn pids(&self) -> Vec<i32> {
        let replicas = REPLICATED.iter().flat_map(|program| self.stack.replicas(*program));
        join_all(replicas.map(Replica::pid)).await.into_iter().flatten().collect()
    }

    /// The same of other programs, or on servers of somebody else's and without links.
    pub(crate) async fn start_with(hold_seconds: u64, options: Options) -> Result<Self> {
        let links = Links::new();
        let set = |program, name, value: u64| (program, name, value.to_string());
        let mut environment = vec![
            set(Program::Booking, "HOLD_SECONDS", hold_seconds),
            set(Program::Booking, "PAYMENT_TIMEOUT_SECONDS", 3),
            // Nobody waits a minute to be told of a change.
            set(Program::Event, "CHANGE_QUIET_SECONDS", 2),
            set(Program::MockGateway, "LATE_SECONDS", LATE_SECONDS),
            set(Program::User, "ACCESS_TOKEN_SECONDS", 24 * 3600),
        ];
        environment.extend(Program::ALL.map(|program| (program, "LOG_LEVEL", "warn".to_owned())));
        let own_servers = options.server_urls.is_none();
        let detour = own_servers.then(|| links.detour());
        let stack = Stack::start(Options { replicas: 2, own_servers, environment, detour, ..options }).await?;
        let world = Self {
            http: http_client(),
            users: stack.database(Program::User).await?,
            bookings: stack.database(Program::Booking).await?,
            gateway: stack.database(Program::MockGateway).await?,
            events: stack.documents(Program::Event).await?,
            notifications: stack.documents(Program::Notification).await?,
            stack,
            links,
            older: None,
        };
        transitions::record(&world.bookings).await?;
        Ok(world)
    }

    pub(crate) fn postgres(&self) -> &Postgres {
        self.stack.postgres.as_ref().expect("it has servers of its own")
    }

    pub(crate) fn mongodb(&self) -> &MongoDb {
        self.stack.mongodb.as_ref().expect("it has servers of its own")
    }

    /// Gives all replicas of a program the same orders.
    pub(crate) async fn order(&self, program: Program, orders: &FaultConfig) -> Result<()> {
        let replicas = self.stack.replicas(program).iter();
        try_join_all(replicas.map(|replica| replica.order(&self.http, orders))).await.map(drop)
    }

    /// Takes back the orders of those replicas of a program that are alive, starts those that are not, and waits until
    /// all are ready.
    pub(crate) async fn stand_down(&self, program: Program) -> Result<()> {
        for replica in self.stack.replicas(program) {
            // One that cannot be told is dead, or dies of its orders just now.
            replica.order(&self.http, &FaultConfig::default()).await.ok();
        }
        self.up(program).await
    }

    /// Waits until a replica of a program has been killed at a failpoint, and until all are ready again.
    pub(crate) async fn revive(&self, program: Program) -> Result<()> {
        let killed = select_all(self.stack.replicas(program).iter().map(|replica| Box::pin(replica.ended())));
        timeout(KILLED_WITHIN, killed).await.context("nobody was killed")?;
        self.stand_down(program).await
    }

    /// Ends the hold of a booking, as if its time were up.
    pub(crate) async fn end_hold(&self, booking: &Value) -> Result<()> {
        let sql = "select reservation_id::text from bookings where id = $1";
        let id: String = sqlx::query_scalar(sql).bind(number(booking)).fetch_one(&self.bookings).await?;
        let over = doc! { "$set": { "expires_at": DateTime::now() } };
        let held = doc! { "_id": id, "state": "held" };
        self.events.collection::<Document>("reservations").update_one(held, over).await?;
        Ok(())
    }

    /// Has a sweeper look after a Pending booking as if the end that booking-service knows of its hold were past.
    /// event-service has a clock of its own.
    pub(crate) async fn expire(&self, booking_id: i32) -> Result<()> {
        let sql = "update bookings set expires_at = now(), next_check_at = now() where id = $1 and status = 'Pending'";
        sqlx::query(sql).bind(booking_id).execute(&self.bookings).await?;
        Ok(())
    }

    /// Lets the deletion of that account, or of every account, be finished now, as if the time had passed in which
    /// requests from before it may come. Returns how many were changed; each is changed once.
    pub(crate) async fn end_settling(&self, user_id: Option<i32>) -> Result<u64> {
        let sql = "update account_deletions
                   set received_at = received_at - interval '1 day', next_check_at = now(), checks = 0
                   where finished_at is null and received_at > now() - interval '1 hour'
                       and ($1::integer is null or user_id = $1)";
        Ok(sqlx::query(sql).bind(user_id).execute(&self.bookings).await?.rows_affected())
    }

    /// Starts the replicas of a program that do not run, and waits until all are ready.
    pub(crate) async fn up(&self, program: Program) -> Result<()> {
        let up = async |replica: &Replica| {
            let what = format!("{} is up", replica.name());
            wait::until(what, UP_LIMIT, async || {
                // Again and again: it may have been dying while it was looked at.
                replica.up().await?;
                ensure!(replica.is_ready(&self.http).await, "not ready");
                Ok(())
            })
            .await
        };
        try_join_all(self.stack.replicas(program).iter().map(up)).await.map(drop)
    }

    /// Starts whatever does not run, mends every link, takes all orders back, and waits until everything is ready.
    pub(crate) async fn mend(&self) -> Result<()> {
        self.links.open_all();
        self.postgres().up().await?;
        self.mongodb().up().await?;
        self.stack.rabbitmq.up().await?;
        try_join_all(Program::ALL.map(|program| self.stand_down(program))).await?;
        self.gateway_faults(&serde_json::json!([])).await
    }

    /// Whether a webhook that the gateway signed with a wrong secret was taken, since its replicas started.
    pub(crate) async fn forgery_was_accepted(&self) -> Result<bool> {
        for gateway in self.stack.replicas(Program::MockGateway) {
            let metrics = self.http.get(format!("http://{}/metrics", gateway.admin)).send().await?.text().await?;
            let mut lines = metrics.lines().filter(|line| line.starts_with("eventplatform_mock_gateway_forgeries"));
            if lines.any(|line| !line.ends_with(" 0")) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Replaces the rules by which the gateway misbehaves; see docs/mock-gateway.md.
    pub(crate) async fn gateway_faults(&self, rules: &Value) -> Result<()> {
        let gateway = self.stack.address(Program::MockGateway);
        let request = self.http.put(format!("http://{gateway}/control/faults"));
        let request = request.bearer_auth(self.stack.secrets.read("payment-api-key")?).json(rules);
        let answer = request.timeout(Duration::from_secs(10)).send().await.context("the gateway's control")?;
        answer.error_for_status().map(drop).context("the gateway's control")
    }
}

/// The id of a booking.
pub(crate) fn number(booking: &Value) -> i32 {
    booking["id"].as_i64().and_then(|id| i32::try_from(id).ok()).unwrap_or_default()
}
