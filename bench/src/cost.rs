//! What one paid booking costs, counted on the wires between the programs and their databases.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bson::{Document, doc};
use eventplatform_tests::{programs::Program, servers::Servers, wait};
use serde::Serialize;

use crate::{
    Plan, contender,
    contender::Contender,
    crowd::{Crowd, Scenario},
    peers::Peers,
    usage,
    wire::{Counts, Wire, Wires},
};

/// How long after its last transaction a process of PostgreSQL tells how often it synced.
const STATISTICS_DELAY: Duration = Duration::from_secs(11);
const LIMIT: Duration = Duration::from_secs(60);

/// Commands of both contenders.
#[derive(Serialize)]
pub(crate) struct Cost {
    pub(crate) bookings: u32,
    pub(crate) rest_seconds: f64,
    pub(crate) wires: Vec<WireCost>,
    /// PostgreSQL's calls to fsync per paid booking, by contender.
    pub(crate) fsyncs: BTreeMap<&'static str, f64>,
    /// The same per second while nobody does anything, of both contenders together.
    pub(crate) fsyncs_at_rest: f64,
}

/// Commands of one program.
#[derive(Serialize)]
pub(crate) struct WireCost {
    pub(crate) wire: Wire,
    /// Of all bookings, and of the loops meanwhile.
    pub(crate) counted: Counts,
    pub(crate) counted_seconds: f64,
    /// While nobody did anything.
    pub(crate) at_rest: Counts,
}

/// Counts at rest, then booking by booking.
pub(crate) async fn count(servers: &Servers, plan: &Plan) -> Result<Cost> {
    let wires = Wires::default();
    eprintln!("starting both contenders with proxies that count");
    let stack = contender::start_platform(servers, Some(wires.detour())).await?;
    let peers = Peers::start(servers, Some(&wires)).await?;
    let (platform_crowd, peers_crowd) = (
        Crowd::gather(&contender::platform(&stack).await?).await?,
        Crowd::gather(&peers.contender(servers).await?).await?,
    );
    tokio::time::sleep(STATISTICS_DELAY).await;

    eprintln!("counting what they do at rest for {} s", plan.rest.as_secs());
    let postgres = servers.postgres.url();
    let (began, syncs, before) = (Instant::now(), usage::fsyncs(&postgres).await?, wires.counts());
    tokio::time::sleep(plan.rest).await;
    let at_rest = since(&wires.counts(), &before);
    let rest_seconds = began.elapsed().as_secs_f64();
    let rest_syncs = usage::fsyncs(&postgres).await? - syncs;

    let mut counter = Counter { wires, postgres, plan, at_rest, wire_costs: Vec::new(), fsyncs: BTreeMap::new() };
    let notifications = stack.documents(Program::Notification).await?.collection::<Document>("notifications");
    let contender = contender::platform(&stack).await?;
    counter.count(&contender, &platform_crowd, async || Ok(notifications.count_documents(doc! {}).await?)).await?;
    contender::stop_platform(stack).await?;
    let contender = peers.contender(servers).await?;
    counter.count(&contender, &peers_crowd, async || peers.count_notifications().await).await?;
    peers.stop().await;

    Ok(Cost {
        bookings: plan.counted_bookings,
        rest_seconds,
        wires: counter.wire_costs,
        fsyncs: counter.fsyncs,
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        fsyncs_at_rest: rest_syncs as f64 / rest_seconds,
    })
}

struct Counter<'a> {
    wires: Wires,
    postgres: String,
    plan: &'a Plan,
    at_rest: BTreeMap<Wire, Counts>,
    wire_costs: Vec<WireCost>,
    fsyncs: BTreeMap<&'static str, f64>,
}

impl Counter<'_> {
    /// Books and pays as one client, and waits until everybody is notified.
    async fn count(
        &mut self,
        contender: &Contender,
        crowd: &std::sync::Arc<Crowd>,
        notified: impl AsyncFn() -> Result<u64>,
    ) -> Result<()> {
        let number = self.plan.counted_bookings;
        eprintln!("counting {number} paid bookings of one client: {}", contender.name);
        let operation = crowd.operation(Scenario::Pay).await?;
        // Connections and prepared statements are there by then.
        operation.run(0).await?;
        wait::until("a notification", LIMIT, async || have(&notified, 1).await).await?;
        tokio::time::sleep(STATISTICS_DELAY).await;

        let (began, syncs, before) = (Instant::now(), usage::fsyncs(&self.postgres).await?, self.wires.counts());
        for n in 0..number {
            operation.run(n as usize).await?;
        }
        let expected = u64::from(number) + 1;
        wait::until("the notifications", LIMIT, async || have(&notified, expected).await).await?;
        // What follows a booking behind the scenes has ended when PostgreSQL's statistics are complete.
        tokio::time::sleep(STATISTICS_DELAY).await;
        let (after, seconds) = (self.wires.counts(), began.elapsed().as_secs_f64());
        let counted = since(&after, &before);
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let syncs = (usage::fsyncs(&self.postgres).await? - syncs) as f64 / f64::from(number);
        self.fsyncs.insert(contender.name, syncs);
        let own = counted.into_iter().filter(|(wire, _)| wire.0 == contender.name);
        self.wire_costs.extend(own.map(|(wire, counted)| WireCost {
            wire,
            counted,
            counted_seconds: seconds,
            at_rest: self.at_rest.get(&wire).cloned().unwrap_or_default(),
        }));
        Ok(())
    }
}

async fn have(notified: &impl AsyncFn() -> Result<u64>, expected: u64) -> Result<()> {
    let stored = notified().await?;
    ensure!(stored >= expected, "{stored} of {expected}");
    Ok(())
}

fn since(after: &BTreeMap<Wire, Counts>, before: &BTreeMap<Wire, Counts>) -> BTreeMap<Wire, Counts> {
    let mut counts = after.clone();
    for (wire, commands) in &mut counts {
        for (command, count) in commands.iter_mut() {
            *count -= before.get(wire).and_then(|before| before.get(command)).copied().unwrap_or_default();
        }
        commands.retain(|_, count| *count > 0);
    }
    counts
}
