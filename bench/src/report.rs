//! The results as tables and as JSON.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Result;
use eventplatform_tests::{programs, servers::Servers};
use platform::Clock;
use serde::Serialize;
use sqlx::{Connection, PgConnection};

use crate::{
    Plan,
    compare::{Block, Figures, Pair, SHARES},
    cost::{Cost, WireCost},
    crowd::Scenario,
    peers,
    usage::{self, GroupCommits, MONGODB, POSTGRES, RABBITMQ},
    wire::{COMMITS, Counts},
};

/// Drivers ask by themselves how their server is; commands that open and close transactions are counted as commits.
const NO_STATEMENTS: [&str; 5] = [COMMITS, "BEGIN", "COMMIT", "ROLLBACK", "hello"];

/// Results as they come in.
#[derive(Serialize)]
pub(crate) struct Report {
    conditions: String,
    clients: u32,
    /// How long PostgreSQL takes to commit next to nothing, in milliseconds.
    commit_ms: f64,
    pub(crate) cost: Option<Cost>,
    pub(crate) pairs: Vec<Pair>,
}

impl Report {
    /// No results yet.
    pub(crate) async fn new(servers: &Servers, plan: &Plan) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
        let mut connection = PgConnection::connect(&servers.postgres.url()).await?;
        let postgres: String = sqlx::query_scalar("show server_version").fetch_one(&mut connection).await?;
        let commit_ms = usage::commit_ms(&mut connection).await?;
        connection.close().await?;
        let conditions = format!(
            "{}, version {}, {} cores ({}), load, contenders and servers on the same ones. PostgreSQL {postgres} with fsync, \
             MongoDB by `{}` with journal. Runs of {} s in a closed loop of {} clients, of {} s in an open one.",
            Clock::system().now().date_naive(),
            programs::version().await,
            std::thread::available_parallelism()?,
            model.trim_start_matches([' ', '\t', ':']),
            servers.mongodb.kind(),
            plan.closed_loop.as_secs(),
            plan.clients,
            plan.open_loop.as_secs(),
        );
        Ok(Self { conditions, clients: plan.clients, commit_ms, cost: None, pairs: Vec::new() })
    }

    /// Writes `bench.json` and `bench.md`.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::write(folder.join("bench.json"), serde_json::to_string_pretty(self)?)?;
        Ok(fs::write(folder.join("bench.md"), self.markdown())?)
    }

    /// All tables.
    pub(crate) fn markdown(&self) -> String {
        let others = self.values(|pair| {
            let all = [&pair.platform, &pair.peers].into_iter().flat_map(|block| block.scenarios.values());
            median(all.map(|figures| figures.others).collect())
        });
        let mut text = format!("{}\n", self.conditions);
        if !self.pairs.is_empty() {
            let (pairs, others) = (self.pairs.len(), median(others));
            text += &format!("{pairs} pairs. Other work took {others:.1} cores meanwhile.\n");
            text += &self.throughput();
            text += &self.latency();
            text += &self.resources();
            text += &self.group_commits();
            text += &self.memory();
        }
        if let Some(cost) = &self.cost {
            text += &cost_tables(cost);
        }
        text
    }

    fn throughput(&self) -> String {
        let mut text = format!(
            "\n### Operations per second, {} clients in a closed loop\n\n| | platform | {} | ratio | errors |\n\
             |---|---:|---:|---:|---:|\n",
            self.clients,
            peers::NAME
        );
        for scenario in Scenario::ALL {
            let compared = self.compared(scenario, |figures| figures.knee.per_second);
            let errors = |block: fn(&Pair) -> &Block| {
                let figures = self.pairs.iter().map(|pair| &block(pair).scenarios[&scenario]);
                figures.map(|it| it.knee.errors + it.open.iter().map(|run| run.errors).sum::<usize>()).sum::<usize>()
            };
            let errors = format!("{} / {}", errors(|pair| &pair.platform), errors(|pair| &pair.peers));
            let _ = writeln!(text, "| {} | {} | {errors} |", scenario.title(), compared.row(0));
        }
        text
    }

    fn latency(&self) -> String {
        let mut text = format!(
            "\n### Latency in an open loop, ms\n\n| | of the knee | p50: platform | {0} | ratio | p99: platform | {0} | \
             ratio |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
            peers::NAME
        );
        for scenario in Scenario::ALL {
            for (index, share) in SHARES.iter().enumerate() {
                let p50 = self.compared(scenario, |figures| figures.open[index].p50_ms).row(1);
                let p99 = self.compared(scenario, |figures| figures.open[index].p99_ms).row(1);
                let _ = writeln!(text, "| {} | {share} % | {p50} | {p99} |", scenario.title());
            }
        }
        text
    }

    fn resources(&self) -> String {
        let mut text = format!(
            "\n### Processor time per operation, ms, and calls to fsync\n\n| | of | platform | {} | ratio |\n\
             |---|---|---:|---:|---:|\n",
            peers::NAME
        );
        for scenario in Scenario::ALL {
            let mut add = |of: &str, digits: usize, value: &dyn Fn(&Figures) -> f64| {
                let compared = self.compared(scenario, value);
                let _ = writeln!(text, "| {} | {of} | {} |", scenario.title(), compared.row(digits));
            };
            add("programs", 2, &|figures| programs_of(&figures.cpu_ms));
            add(MONGODB, 2, &|figures| figures.cpu_ms[MONGODB]);
            if matches!(scenario, Scenario::Hot | Scenario::Pay) {
                add(POSTGRES, 2, &|figures| figures.cpu_ms[POSTGRES]);
                add(RABBITMQ, 2, &|figures| figures.cpu_ms[RABBITMQ]);
                add("fsyncs of PostgreSQL", 1, &|figures| figures.fsyncs);
            }
        }
        text
    }

    fn group_commits(&self) -> String {
        let mut text = format!(
            "\nA commit of next to nothing takes PostgreSQL {:.1} ms.\n\n### event-service's group commits in the closed \
             loop\n\n| | operations in a group | ms for a group |\n|---|---:|---:|\n",
            self.commit_ms
        );
        for scenario in [Scenario::Hot, Scenario::Pay] {
            let of = |value: fn(&GroupCommits) -> f64| {
                median(self.values(|pair| value(&pair.platform.scenarios[&scenario].group_commits)))
            };
            let (size, ms) = (of(|it| it.operations / it.groups), of(|it| it.seconds * 1000.0 / it.groups));
            let _ = writeln!(text, "| {} | {size:.1} | {ms:.1} |", scenario.title());
        }
        text
    }

    fn memory(&self) -> String {
        let mut text = format!(
            "\n### Resident memory of the programs, MiB\n\n| | platform | {} | ratio |\n|---|---:|---:|---:|\n",
            peers::NAME
        );
        for (index, when) in ["before the load", "after it"].into_iter().enumerate() {
            let of = |block: &Block| programs_of(&block.memory_mib[index]);
            let compared = Compared {
                platform: self.values(|pair| of(&pair.platform)),
                peers: self.values(|pair| of(&pair.peers)),
            };
            let _ = writeln!(text, "| {when} | {} |", compared.row(0));
        }
        text
    }

    fn compared(&self, scenario: Scenario, value: impl Fn(&Figures) -> f64) -> Compared {
        Compared {
            platform: self.values(|pair| value(&pair.platform.scenarios[&scenario])),
            peers: self.values(|pair| value(&pair.peers.scenarios[&scenario])),
        }
    }

    fn values(&self, value: impl Fn(&Pair) -> f64) -> Vec<f64> {
        self.pairs.iter().map(value).collect()
    }
}

/// One figure of both contenders, pair by pair.
struct Compared {
    platform: Vec<f64>,
    peers: Vec<f64>,
}

impl Compared {
    /// Both medians, and the median of the pairs' ratios with the least and the greatest one.
    fn row(&self, digits: usize) -> String {
        let pairs = self.platform.iter().zip(&self.peers);
        let mut ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
        let (platform, peers) = (median(self.platform.clone()), median(self.peers.clone()));
        // Neither of them does it, or one does not.
        let ratio = if platform.abs() < 0.005 || peers.abs() < 0.005 {
            "–".to_owned()
        } else {
            ratios.sort_by(f64::total_cmp);
            format!("**{:.2}** ({:.2} to {:.2})", median(ratios.clone()), ratios[0], ratios[ratios.len() - 1])
        };
        format!("{platform:.digits$} | {peers:.digits$} | {ratio}")
    }
}

/// The sum over all parts but the servers.
fn programs_of(parts: &std::collections::BTreeMap<&'static str, f64>) -> f64 {
    let programs = parts.iter().filter(|(name, _)| ![POSTGRES, MONGODB, RABBITMQ].contains(name));
    programs.map(|(_, value)| value).sum()
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        Some(upper) if values.len().is_multiple_of(2) => f64::midpoint(values[middle - 1], *upper),
        Some(middle) => *middle,
        None => f64::NAN,
    }
}

fn cost_tables(cost: &Cost) -> String {
    let mut text = format!(
        "\n### One paid booking of one client\n\n{} bookings, counted on the wire; what the loops do meanwhile is taken \
         off by their rate at rest, which was counted for {:.0} s.\n\n\
         | contender | program | of | commits | commands | which | commits/s at rest | commands/s at rest |\n\
         |---|---|---|---:|---:|---|---:|---:|\n",
        cost.bookings, cost.rest_seconds
    );
    for it in &cost.wires {
        let (contender, program, database) = it.wire;
        let net = |count: &dyn Fn(&Counts) -> f64| {
            let meanwhile = count(&it.at_rest) / cost.rest_seconds * it.counted_seconds;
            ((count(&it.counted) - meanwhile) / f64::from(cost.bookings)).max(0.0)
        };
        let commits = |counts: &Counts| number(counts, COMMITS);
        let commands = |counts: &Counts| statements(counts).map(|name| number(counts, name)).sum::<f64>();
        let which = statements(&it.counted).filter_map(|name| {
            let per_booking = net(&|counts| number(counts, name));
            (per_booking >= 0.05).then(|| format!("{name} {per_booking:.1}"))
        });
        let which = which.collect::<Vec<_>>().join(", ");
        let no_commits = database == MONGODB;
        let of_postgres = |value: f64| if no_commits { "–".to_owned() } else { format!("{value:.1}") };
        let _ = writeln!(
            text,
            "| {contender} | {program} | {database} | {} | {:.1} | {which} | {} | {:.1} |",
            of_postgres(net(&commits)),
            net(&commands),
            of_postgres(commits(&it.at_rest) / cost.rest_seconds),
            commands(&it.at_rest) / cost.rest_seconds,
        );
    }
    text += &at_rest(cost);
    for (contender, fsyncs) in &cost.fsyncs {
        let _ = writeln!(text, "\nPostgreSQL's calls to fsync per paid booking of the {contender}: {fsyncs:.1}.");
    }
    text
}

/// What the platform asks of its databases while nobody does anything.
fn at_rest(cost: &Cost) -> String {
    let of = |database: &str| {
        let wires = cost.wires.iter().filter(|it| it.wire.0 != peers::NAME && it.wire.2 == database);
        let counts = wires.flat_map(|it: &WireCost| statements(&it.at_rest).map(|name| number(&it.at_rest, name)));
        counts.sum::<f64>() / cost.rest_seconds
    };
    format!(
        "\nThe platform at rest, one replica of each program: {:.1} queries of PostgreSQL and {:.1} commands of MongoDB a \
         second. Both contenders at rest make PostgreSQL call fsync {:.1} times a second.\n",
        of(POSTGRES),
        of(MONGODB),
        cost.fsyncs_at_rest
    )
}

fn statements(counts: &Counts) -> impl Iterator<Item = &str> {
    counts.keys().map(String::as_str).filter(|name| !NO_STATEMENTS.contains(name))
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark stay far under 2^52")]
fn number(counts: &Counts, name: &str) -> f64 {
    counts.get(name).copied().unwrap_or_default() as f64
}
