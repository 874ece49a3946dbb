//! What breaks, each kind a variant: how it strikes, how long it lasts, how it clears.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bson::doc;
use contracts::message::{EXCHANGE, NOTIFICATION_QUEUE};
use eventplatform_tests::fleet::{Caller, Peer};
use eventplatform_tests::link::Condition;
use eventplatform_tests::programs::{Binaries, Program};
use eventplatform_tests::servers::MongoKind;
use eventplatform_tests::wait;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use platform::failpoint::FaultConfig;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::say;
use crate::workload::Workload;
use crate::world::{REPLICATED, SERVICES, World};

/// A gateway that is told to misbehave gets the opportunity within this time.
const STRIKES_WITHIN: Duration = Duration::from_secs(60);

/// A server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Server {
    Postgres,
    MongoDb,
    RabbitMq,
}

/// Something that breaks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// `kill -9` of one replica.
    Kill(Program, usize),
    /// One replica stands still for longer than its leases, and wakes up.
    Freeze(Program, usize),
    /// Users leave before the answer comes.
    Impatience,
    /// A server is stopped and started.
    Restart(Server),
    /// `kill -9` of a server.
    KillServer(Server),
    /// The only member of MongoDB steps down, and up again.
    StepDown,
    /// RabbitMQ is away for long.
    LongWithoutBroker,
    /// RabbitMQ takes nothing, for it has no memory left.
    MemoryAlarm,
    /// The queue of notifications loses its bindings.
    Unbound,
    /// The confirms of RabbitMQ are lost.
    ConfirmsLost,
    /// Something is wrong with the network between two parts.
    Network(Program, Peer, Condition),
    /// The same, for one replica and not for the other.
    NetworkOf(Caller, Peer, Condition),
    /// The gateway misbehaves: an operation, and what goes wrong with it.
    Gateway(&'static str, &'static str),
    /// Webhooks come seconds late.
    LateWebhooks,
    /// The clocks of two replicas of each service are ten minutes apart, five from the machine's.
    Clocks,
    /// Every replica of every service and the gateway is replaced, one after the other.
    RollingRestart,
    /// One replica of each service and the gateway is of an older version.
    OlderVersion,
}

impl Fault {
    /// Every kind at least once, at random places.
    pub(crate) fn every_kind(world: &World, rng: &mut StdRng) -> Vec<Self> {
        let mut all = vec![
            Self::freeze(rng),
            Self::Impatience,
            Self::LongWithoutBroker,
            Self::MemoryAlarm,
            Self::Unbound,
            Self::ConfirmsLost,
            Self::Gateway("confirm", "error_500"),
            Self::Gateway("create", "error_500"),
            Self::Gateway("confirm", "timeout_before"),
            Self::Gateway("confirm", "timeout_after"),
            Self::Gateway("refund", "timeout_after"),
            Self::Gateway("webhook", "duplicate_webhook"),
            Self::Gateway("webhook", "reorder_webhooks"),
            Self::Gateway("webhook", "forge_signature"),
            Self::Gateway("webhook", "drop_webhook"),
            Self::LateWebhooks,
            Self::Clocks,
            Self::RollingRestart,
            Self::Network(Program::Booking, Peer::Program(Program::Event), Condition::Cut),
            Self::Network(Program::Event, Peer::MongoDb, Condition::Cut),
        ];
        for server in [Server::Postgres, Server::MongoDb, Server::RabbitMq] {
            all.extend([Self::Restart(server), Self::KillServer(server)]);
        }
        all.extend(REPLICATED.map(|program| Self::Kill(program, rng.random_range(0..2))));
        all.extend(conditions().map(|condition| Self::network(world, rng, condition)));
        all.extend(world.older.is_some().then_some(Self::OlderVersion));
        all.extend((world.mongodb().kind() == MongoKind::Mongod).then_some(Self::StepDown));
        all
    }

    pub(crate) fn says_what_cannot_strike(world: &World) {
        match &world.older {
            Some((version, _)) => say(&format!("the older version is {version}")),
            None => say("NOT RUN: an older version beside a newer one (this checkout has no history)"),
        }
        if world.mongodb().kind() == MongoKind::Secantus {
            say("NOT RUN: MongoDB steps down (SecantusDB has one member and no such command)");
        }
    }

    /// Any fault that goes together with others; kills and the network are the most frequent.
    pub(crate) fn any(world: &World, rng: &mut StdRng) -> Self {
        match rng.random_range(0..20) {
            0..9 => Self::any_kill(rng),
            9..13 => {
                let condition = *conditions().collect::<Vec<_>>().choose(rng).expect("there are some");
                Self::network(world, rng, condition)
            }
            _ => {
                let mut kinds = Self::every_kind(world, rng);
                kinds.retain(Self::goes_together);
                kinds.swap_remove(rng.random_range(0..kinds.len()))
            }
        }
    }

    /// Whether it can strike while other parts are down, and differs from other kinds in more than its duration.
    fn goes_together(&self) -> bool {
        !matches!(self, Self::LongWithoutBroker | Self::ConfirmsLost | Self::RollingRestart | Self::OlderVersion)
    }

    /// Whether the two cannot strike together: a replica that stands still takes no orders.
    pub(crate) fn excludes(&self, other: &Self) -> bool {
        self == other || matches!((self, other), (Self::Freeze(..), Self::Clocks) | (Self::Clocks, Self::Freeze(..)))
    }

    fn freeze(rng: &mut StdRng) -> Self {
        let programs = [Program::Booking, Program::Event, Program::Notification];
        Self::Freeze(*programs.choose(rng).expect("there are some"), rng.random_range(0..2))
    }

    /// Any `kill -9` of a replica.
    fn any_kill(rng: &mut StdRng) -> Self {
        Self::Kill(*REPLICATED.choose(rng).expect("there are some"), rng.random_range(0..2))
    }

    /// Any `kill -9` of a replica of another program than this one.
    pub(crate) fn kill_beside(program: Program, rng: &mut StdRng) -> Self {
        loop {
            match Self::any_kill(rng) {
                Self::Kill(killed, _) if killed == program => {}
                kill => return kill,
            }
        }
    }

    /// Between any two that talk with each other.
    fn network(world: &World, rng: &mut StdRng, condition: Condition) -> Self {
        let (caller, peer) = *world.links.all().choose(rng).expect("there are some");
        if rng.random() { Self::Network(caller.0, peer, condition) } else { Self::NetworkOf(caller, peer, condition) }
    }

    /// How long it lasts alone: for longer than what waits for it.
    pub(crate) fn lasts(&self) -> Duration {
        match self {
            // A relay's claim, 20 s.
            Self::Freeze(..) => Duration::from_secs(22),
            Self::LongWithoutBroker => Duration::from_secs(15),
            // A publisher, 10 s.
            Self::ConfirmsLost | Self::MemoryAlarm => Duration::from_secs(12),
            // A call to event-service, twice 4 s.
            Self::Network(_, _, Condition::Cut | Condition::HalfOpen)
            | Self::NetworkOf(_, _, Condition::Cut | Condition::HalfOpen)
            | Self::Clocks => Duration::from_secs(10),
            Self::Kill(..) | Self::Restart(_) | Self::KillServer(_) => Duration::from_millis(500),
            Self::RollingRestart | Self::Unbound => Duration::ZERO,
            // And until it has struck.
            Self::Gateway(..) | Self::LateWebhooks => Duration::from_secs(1),
            Self::OlderVersion => Duration::from_secs(5),
            _ => Duration::from_secs(3),
        }
    }

    /// Breaks something.
    pub(crate) async fn strike(&self, world: &World, work: &Workload) -> Result<()> {
        match self {
            Self::Kill(program, number) => world.stack.replicas(*program)[*number].kill().await,
            Self::Freeze(program, number) => world.stack.replicas(*program)[*number].signal(Signal::STOP).await,
            Self::Impatience => work.hurry.store(80, Ordering::Relaxed),
            Self::Restart(server) => server.stop(world).await,
            Self::KillServer(server) => server.kill(world).await,
            Self::StepDown => step_down(world).await?,
            Self::LongWithoutBroker => world.stack.rabbitmq.stop().await,
            Self::MemoryAlarm => world.stack.rabbitmq.control(&["set_vm_memory_high_watermark", "0"]).await?,
            Self::Unbound => unbind(world).await?,
            Self::ConfirmsLost => world.links.set(Program::Booking, Peer::RabbitMq, Condition::HalfOpen),
            Self::Network(program, peer, condition) => world.links.set(*program, *peer, *condition),
            Self::NetworkOf(caller, peer, condition) => world.links.set_one(*caller, *peer, *condition),
            Self::Gateway(operation, action) => world.gateway_faults(&rules(operation, &json!(action), 12)).await?,
            Self::LateWebhooks => world.gateway_faults(&rules("webhook", &json!({ "delay_ms": 6000 }), 20)).await?,
            Self::Clocks => set_clocks(world, [300, -300]).await?,
            Self::RollingRestart => roll(world).await?,
            Self::OlderVersion => {
                let (_, older) = world.older.as_ref().context("there is no older version")?;
                replace_first(world, older).await?;
            }
        }
        Ok(())
    }

    /// Waits until it has done something, where that can be told.
    pub(crate) async fn has_struck(&self, world: &World) -> Result<()> {
        if !matches!(self, Self::Gateway(..) | Self::LateWebhooks) {
            return Ok(());
        }
        wait::until(format!("{self} has struck"), STRIKES_WITHIN, async || {
            let query = "select coalesce(bool_or(remaining < (rule->>'times')::integer), false) from fault_rules";
            ensure!(sqlx::query_scalar::<_, bool>(query).fetch_one(&world.gateway).await?, "not once");
            Ok(())
        })
        .await?;
        ensure!(!world.forgery_was_accepted().await?, "booking-service took a webhook that somebody else had signed");
        Ok(())
    }

    /// Where it stands in the order of mending: servers and links first, without which no program is ready; what the
    /// programs have to be told last.
    pub(crate) fn clears_at(&self) -> u8 {
        match self {
            Self::Restart(_) | Self::KillServer(_) | Self::Network(..) | Self::NetworkOf(..) => 0,
            Self::Kill(..) => 2,
            Self::Clocks | Self::Gateway(..) | Self::LateWebhooks => 3,
            _ => 1,
        }
    }

    /// Mends it, and waits until what was broken is ready.
    pub(crate) async fn clear(&self, world: &World, work: &Workload) -> Result<()> {
        match self {
            Self::Kill(program, _) => world.up(*program).await?,
            Self::Freeze(program, number) => world.stack.replicas(*program)[*number].signal(Signal::CONT).await,
            Self::Impatience => work.hurry.store(4, Ordering::Relaxed),
            Self::Restart(server) | Self::KillServer(server) => server.up(world).await?,
            Self::LongWithoutBroker => world.stack.rabbitmq.up().await?,
            Self::MemoryAlarm => world.stack.rabbitmq.control(&["set_vm_memory_high_watermark", "0.4"]).await?,
            Self::StepDown => world.mongodb().up().await?,
            Self::Unbound | Self::RollingRestart => {}
            Self::ConfirmsLost => world.links.set(Program::Booking, Peer::RabbitMq, Condition::Open),
            Self::Network(program, peer, _) => world.links.set(*program, *peer, Condition::Open),
            Self::NetworkOf(caller, peer, _) => world.links.set_one(*caller, *peer, Condition::Open),
            Self::Gateway(..) | Self::LateWebhooks => world.gateway_faults(&json!([])).await?,
            Self::Clocks => set_clocks(world, [0, 0]).await?,
            Self::OlderVersion => replace_first(world, &Binaries::locate().await?).await?,
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(program, number) => write!(f, "kill -9 of {}-{number}", program.name()),
            Self::Network(program, peer, condition) => write!(f, "{} to {peer}: {condition:?}", program.name()),
            Self::NetworkOf((program, number), peer, condition) => {
                write!(f, "{}-{number} to {peer}: {condition:?}", program.name())
            }
            Self::Gateway(operation, action) => write!(f, "gateway, {operation}: {action}"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl Server {
    async fn stop(self, world: &World) {
        match self {
            Self::Postgres => world.postgres().stop().await,
            Self::MongoDb => world.mongodb().stop().await,
            Self::RabbitMq => world.stack.rabbitmq.stop().await,
        }
    }

    async fn kill(self, world: &World) {
        match self {
            Self::Postgres => world.postgres().kill().await,
            Self::MongoDb => world.mongodb().kill().await,
            Self::RabbitMq => world.stack.rabbitmq.kill().await,
        }
    }

    async fn up(self, world: &World) -> Result<()> {
        match self {
            Self::Postgres => world.postgres().up().await,
            Self::MongoDb => world.mongodb().up().await,
            Self::RabbitMq => world.stack.rabbitmq.up().await,
        }
    }
}

fn conditions() -> impl Iterator<Item = Condition> {
    let delayed = Condition::Delayed(Duration::from_millis(300));
    [Condition::Cut, delayed, Condition::Slowed(20_000), Condition::HalfOpen].into_iter()
}

fn rules(operation: &str, action: &Value, times: u16) -> Value {
    json!([{ "match": { "operation": operation }, "times": times, "action": action }])
}

async fn unbind(world: &World) -> Result<()> {
    let connection = Connection::connect(&world.stack.rabbitmq.url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    for pattern in NOTIFICATION_QUEUE.bindings {
        let queue = NOTIFICATION_QUEUE.name.into();
        channel.queue_unbind(queue, EXCHANGE.into(), (*pattern).into(), FieldTable::default()).await?;
    }
    Ok(connection.close(200, "unbound".into()).await?)
}

async fn set_clocks(world: &World, offsets: [i64; 2]) -> Result<()> {
    for program in SERVICES {
        for (replica, offset) in world.stack.replicas(program).iter().zip(offsets) {
            let orders = FaultConfig { clock_offset_seconds: offset, ..replica.orders(&world.http).await? };
            replica.order(&world.http, &orders).await?;
        }
    }
    Ok(())
}

async fn roll(world: &World) -> Result<()> {
    for program in REPLICATED {
        for replica in world.stack.replicas(program) {
            replica.stop().await;
            world.up(program).await?;
        }
    }
    Ok(())
}

/// Starts the first replica of every service and the gateway from these programs.
async fn replace_first(world: &World, binaries: &Binaries) -> Result<()> {
    for program in REPLICATED {
        let replica = &world.stack.replicas(program)[0];
        replica.stop().await;
        replica.start_from(binaries);
        world.up(program).await?;
    }
    Ok(())
}

/// Asks the only member to step down; it takes over again.
async fn step_down(world: &World) -> Result<()> {
    let client = world.mongodb().client().await?;
    let command = doc! { "replSetStepDown": 5, "secondaryCatchUpPeriodSecs": 0, "force": true };
    client.database("admin").run_command(command).await.map(drop).context("the member does not step down")
}
