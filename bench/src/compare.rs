//! The contenders in turn: each gets fresh data and the same load, one after the other, as a pair.

use std::collections::BTreeMap;

use anyhow::Result;
use eventplatform_tests::servers::Servers;
use serde::Serialize;

use crate::{
    Plan, contender,
    contender::Contender,
    crowd::{Crowd, Scenario},
    load::{Run, closed_loop, count, open_loop},
    peers::Peers,
    usage::{GroupCommits, Meter},
};

/// Shares of the knee, in percent, at which latencies are measured in an open loop.
pub(crate) const SHARES: [u32; 2] = [50, 80];

/// A block of load on each contender.
#[derive(Serialize)]
pub(crate) struct Pair {
    pub(crate) platform: Block,
    pub(crate) peers: Block,
}

/// What a contender did in one block.
#[derive(Serialize)]
pub(crate) struct Block {
    pub(crate) scenarios: BTreeMap<Scenario, Figures>,
    /// Resident memory of each part before the load and after it, in MiB.
    pub(crate) memory_mib: [BTreeMap<&'static str, f64>; 2],
}

/// What a contender did in one scenario.
#[derive(Serialize)]
pub(crate) struct Figures {
    /// In a closed loop: the knee, since all clients have a request under way all the time.
    pub(crate) knee: Latencies,
    /// In open loops at the shares of the knee.
    pub(crate) open: Vec<Latencies>,
    /// Processor milliseconds of each part per operation.
    pub(crate) cpu_ms: BTreeMap<&'static str, f64>,
    /// PostgreSQL's calls to fsync per operation.
    pub(crate) fsyncs: f64,
    pub(crate) group_commits: GroupCommits,
    /// Processors that other work on the machine took.
    pub(crate) others: f64,
}

/// One run.
#[derive(Serialize)]
pub(crate) struct Latencies {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) errors: usize,
}

impl From<&Run> for Latencies {
    fn from(run: &Run) -> Self {
        let (p50_ms, p99_ms) = (run.percentile_ms(50), run.percentile_ms(99));
        Self { per_second: run.per_second(), p50_ms, p99_ms, errors: run.errors }
    }
}

/// Loads the seed's stack until its JVM has compiled what counts.
pub(crate) async fn warm_up(servers: &Servers, peers: &Peers, plan: &Plan) -> Result<()> {
    eprintln!("warming the seed's stack up for {} s", plan.first_warm_up.as_secs());
    let crowd = Crowd::gather(&peers.contender(servers).await?).await?;
    for scenario in Scenario::ALL {
        closed_loop(plan.clients, plan.first_warm_up / 4, &crowd.operation(scenario).await?).await;
    }
    crowd.is_told().await
}

/// One block on each contender. Who begins changes from pair to pair.
pub(crate) async fn pair(servers: &Servers, peers: &Peers, plan: &Plan, number: usize) -> Result<Pair> {
    if number.is_multiple_of(2) {
        let platform = on_platform(servers, plan).await?;
        Ok(Pair { platform, peers: on_peers(servers, peers, plan).await? })
    } else {
        let peers = on_peers(servers, peers, plan).await?;
        Ok(Pair { platform: on_platform(servers, plan).await?, peers })
    }
}

/// The platform starts anew each time. It would not be idle while the other one is measured.
async fn on_platform(servers: &Servers, plan: &Plan) -> Result<Block> {
    let stack = contender::start_platform(servers, None).await?;
    let block = block(servers, &contender::platform(&stack).await?, plan).await?;
    contender::stop_platform(stack).await?;
    Ok(block)
}

async fn on_peers(servers: &Servers, peers: &Peers, plan: &Plan) -> Result<Block> {
    peers.reset().await?;
    block(servers, &peers.contender(servers).await?, plan).await
}

async fn block(servers: &Servers, contender: &Contender, plan: &Plan) -> Result<Block> {
    let meter = Meter::new(servers, contender).await?;
    let before = meter.resident_mib();
    let crowd = Crowd::gather(contender).await?;
    let mut scenarios = BTreeMap::new();
    for scenario in Scenario::ALL {
        let figures = measure(&crowd, &meter, scenario, plan).await?;
        eprintln!(
            "  {}, {}: {:.0}/s, {:.2} ms of processor each",
            contender.name,
            scenario.title(),
            figures.knee.per_second,
            figures.cpu_ms.values().sum::<f64>()
        );
        scenarios.insert(scenario, figures);
    }
    Ok(Block { scenarios, memory_mib: [before, meter.resident_mib()] })
}

async fn measure(crowd: &std::sync::Arc<Crowd>, meter: &Meter, scenario: Scenario, plan: &Plan) -> Result<Figures> {
    closed_loop(plan.clients, plan.warm_up, &crowd.operation(scenario).await?).await;
    crowd.is_told().await?;

    let operation = crowd.operation(scenario).await?;
    let (before, began) = (meter.read().await?, std::time::Instant::now());
    let run = closed_loop(plan.clients, plan.closed_loop, &operation).await;
    // Notifications are part of the work, whenever it is done.
    crowd.is_told().await?;
    let used = meter.read().await?.since(&before);
    let (seconds, done) = (began.elapsed().as_secs_f64(), count(run.ok.max(1)));

    let mut open = Vec::new();
    for share in SHARES {
        let rate = (run.per_second() * f64::from(share) / 100.0).max(1.0);
        let operation = crowd.operation(scenario).await?;
        open.push(Latencies::from(&open_loop(rate, plan.open_loop, &operation).await?));
        crowd.is_told().await?;
    }
    Ok(Figures {
        knee: Latencies::from(&run),
        open,
        cpu_ms: used.cpu.into_iter().map(|(part, seconds)| (part, seconds * 1000.0 / done)).collect(),
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        fsyncs: used.fsyncs as f64 / done,
        group_commits: used.group_commits,
        others: used.others / seconds,
    })
}
