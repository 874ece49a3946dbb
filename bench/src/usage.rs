//! What a contender and the servers use: processor time and resident memory from `/proc`, PostgreSQL's calls to fsync,
//! and event-service's group commits.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use eventplatform_tests::{
    api,
    process::{TICKS_PER_SECOND, cpu_seconds},
    servers::Servers,
};
use serde::Serialize;
use sqlx::{Connection, PgConnection};

use crate::contender::Contender;

pub(crate) const POSTGRES: &str = "PostgreSQL";
pub(crate) const MONGODB: &str = "MongoDB";
pub(crate) const RABBITMQ: &str = "RabbitMQ";

/// Reads what a contender and its servers used so far.
pub(crate) struct Meter {
    parts: Vec<(&'static str, i32)>,
    postgres_url: String,
    event_metrics: Option<String>,
}

/// Totals of one moment, or what was used between two.
pub(crate) struct Usage {
    /// Processor seconds of each part.
    pub(crate) cpu: BTreeMap<&'static str, f64>,
    /// Processor seconds of everything else on the machine but this program and what it started.
    pub(crate) others: f64,
    /// PostgreSQL's calls to fsync for its log.
    pub(crate) fsyncs: i64,
    pub(crate) group_commits: GroupCommits,
}

/// event-service's transactions on the counters of an event; all zero of a contender that has none.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct GroupCommits {
    pub(crate) groups: f64,
    /// Holds, confirmations and releases, all groups together.
    pub(crate) operations: f64,
    /// Seconds, all groups together.
    pub(crate) seconds: f64,
}

impl Meter {
    pub(crate) async fn new(servers: &Servers, contender: &Contender) -> Result<Self> {
        let mut parts = contender.programs.clone();
        parts.push((POSTGRES, servers.postgres.pid().await.context("PostgreSQL has ended")?));
        parts.push((MONGODB, servers.mongodb.pid().await.context("MongoDB has ended")?));
        parts.push((RABBITMQ, contender.rabbitmq));
        let event_metrics = contender.event_metrics.clone();
        Ok(Self { parts, postgres_url: servers.postgres.url(), event_metrics })
    }

    pub(crate) async fn read(&self) -> Result<Usage> {
        Ok(Usage {
            cpu: self.parts.iter().map(|(name, pid)| (*name, tree_cpu_seconds(*pid))).collect(),
            others: busy_seconds() - tree_cpu_seconds(std::process::id().cast_signed()),
            fsyncs: fsyncs(&self.postgres_url).await?,
            group_commits: match &self.event_metrics {
                Some(url) => GroupCommits::parse(&api::http_client().get(url).send().await?.text().await?),
                None => GroupCommits::default(),
            },
        })
    }

    /// Resident memory of each part, in MiB. Pages that processes share count once for each.
    pub(crate) fn resident_mib(&self) -> BTreeMap<&'static str, f64> {
        self.parts.iter().map(|(name, pid)| (*name, tree(*pid).into_iter().map(resident_mib).sum())).collect()
    }
}

impl Usage {
    /// What was used since `before`.
    pub(crate) fn since(mut self, before: &Self) -> Self {
        for (name, seconds) in &mut self.cpu {
            *seconds -= before.cpu[name];
        }
        self.group_commits = self.group_commits.since(before.group_commits);
        Self { others: self.others - before.others, fsyncs: self.fsyncs - before.fsyncs, ..self }
    }
}

impl GroupCommits {
    /// Reads the metrics of event-service. It shows none of these before the first group.
    fn parse(metrics: &str) -> Self {
        let value = |name: &str| {
            let lines = metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            lines.filter_map(|value| value.parse::<f64>().ok()).sum()
        };
        Self {
            groups: value("eventplatform_capacity_batch_size_count"),
            operations: value("eventplatform_capacity_batch_size_sum"),
            seconds: value("eventplatform_capacity_batch_seconds_sum"),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            groups: self.groups - before.groups,
            operations: self.operations - before.operations,
            seconds: self.seconds - before.seconds,
        }
    }
}

/// How long PostgreSQL takes to commit a transaction that writes one small record: the median of 200, in milliseconds.
pub(crate) async fn commit_ms(connection: &mut PgConnection) -> Result<f64> {
    let mut durations = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        sqlx::query("select pg_logical_emit_message(true, 'bench', '')").execute(&mut *connection).await?;
        durations.push(begun.elapsed());
    }
    durations.sort();
    Ok(durations.get(durations.len() / 2).map_or(f64::NAN, Duration::as_secs_f64) * 1000.0)
}

/// PostgreSQL's calls to fsync for its log so far. Its processes tell their counts once a second while they work, and
/// ten seconds after their last transaction.
pub(crate) async fn fsyncs(postgres_url: &str) -> Result<i64> {
    let mut connection = PgConnection::connect(postgres_url).await?;
    let version: String = sqlx::query_scalar("show server_version_num").fetch_one(&mut connection).await?;
    let query = if version.parse::<u32>()? < 180_000 {
        "select wal_sync from pg_stat_wal"
    } else {
        "select sum(fsyncs)::bigint from pg_stat_io where object = 'wal'"
    };
    let count = sqlx::query_scalar(query).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(count)
}

/// Processor seconds of a process and its descendants, ended ones included.
fn tree_cpu_seconds(root: i32) -> f64 {
    tree(root).into_iter().map(cpu_seconds).sum()
}

/// The process and its descendants.
fn tree(root: i32) -> Vec<i32> {
    let mut pids = vec![root];
    let mut next = 0;
    while let Some(&pid) = pids.get(next) {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            pids.extend(list.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        next += 1;
    }
    pids
}

/// Processor seconds of the whole machine but idle ones.
fn busy_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8).enumerate();
    let busy = fields.filter(|(index, _)| !matches!(index, 3 | 4));
    busy.filter_map(|(_, ticks)| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

fn resident_mib(pid: i32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

#[cfg(test)]
mod tests {
    use super::GroupCommits;

    #[test]
    fn group_commits_are_read_from_the_metrics() {
        let metrics = "# TYPE eventplatform_capacity_batch_seconds histogram\n\
                       eventplatform_capacity_batch_seconds_bucket{le=\"0.005\"} 3\n\
                       eventplatform_capacity_batch_seconds_sum 0.5\neventplatform_capacity_batch_seconds_count 4\n\
                       eventplatform_capacity_batch_size{quantile=\"0.5\"} 9\n\
                       eventplatform_capacity_batch_size_sum 32\neventplatform_capacity_batch_size_count 4\n";

        let read = GroupCommits::parse(metrics);

        assert_eq!([read.groups, read.operations, read.seconds].map(|value| value.to_string()), ["4", "32", "0.5"]);
    }
}
