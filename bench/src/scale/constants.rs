//! What one booking costs: constants that `bench` measured, or that were given as options.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::{report::median, wire::COMMITS};

/// Takes the place of what was measured. Times of processors are those of one paid booking.
#[derive(Args)]
pub(crate) struct Measured {
    /// Processor time of booking-service, in ms.
    #[arg(long)]
    booking_ms: Option<f64>,
    /// Processor time of event-service, in ms.
    #[arg(long)]
    event_ms: Option<f64>,
    /// Processor time of notification-service, in ms.
    #[arg(long)]
    notification_ms: Option<f64>,
    /// Processor time of PostgreSQL without the mock gateway's part, in ms.
    #[arg(long)]
    postgres_ms: Option<f64>,
    /// Processor time of MongoDB, in ms.
    #[arg(long)]
    mongodb_ms: Option<f64>,
    /// Processor time of RabbitMQ, in ms.
    #[arg(long)]
    rabbitmq_ms: Option<f64>,
    /// Calls to fsync of PostgreSQL per paid booking without the mock gateway's part.
    #[arg(long)]
    fsyncs: Option<f64>,
    /// How long PostgreSQL takes to commit next to nothing.
    #[arg(long)]
    commit_ms: Option<f64>,
    /// How long a group commit of a hot event takes.
    #[arg(long)]
    group_ms: Option<f64>,
    /// How many operations that group has.
    #[arg(long)]
    group_size: Option<f64>,
    /// Processor time of MongoDB for one hold of a hot event: what each operation adds to its group, in ms.
    #[arg(long)]
    hold_ms: Option<f64>,
}

/// Milliseconds of one paid booking, where nothing else is said.
pub(crate) struct Constants {
    pub(crate) booking: f64,
    pub(crate) event: f64,
    pub(crate) notification: f64,
    pub(crate) postgres: f64,
    pub(crate) mongodb: f64,
    pub(crate) rabbitmq: f64,
    /// A number.
    pub(crate) fsyncs: f64,
    /// Of each commit of PostgreSQL.
    pub(crate) commit: f64,
    /// Of a group commit: so long, and so much longer for each operation.
    pub(crate) group: [f64; 2],
}

impl Constants {
    /// The constants, and a table of them.
    pub(crate) fn read(report: &Value, given: &Measured) -> Result<(Self, String)> {
        let of_pairs = |scenario: &str, figure: &str| {
            let pairs = report["pairs"].as_array().into_iter().flatten();
            let path = format!("/platform/scenarios/{scenario}/{figure}");
            median(pairs.filter_map(|pair| pair.pointer(&path)?.as_f64()).collect())
        };
        let mut table = String::from("| constant | value | from |\n|---|---:|---|\n");
        let mut take = |title: &str, flag: Option<f64>, measured: f64, source: &str| {
            let (value, source) = flag.map_or((measured, source), |value| (value, "given"));
            let _ = writeln!(table, "| {title} | {value:.2} | {source} |");
            ensure!(value.is_finite() && value >= 0.0, "bench.json does not say: {title}. Give it as an option");
            Ok(value)
        };
        let pay = |part: &str| of_pairs("pay", &format!("cpu_ms/{part}"));
        let groups = |figure: &str| of_pairs("hot", &format!("group_commits/{figure}"));
        let ours =
            commits(report, "booking-service") / (commits(report, "booking-service") + commits(report, "mock-gateway"));
        let (paid, share) = ("book and pay", "book and pay, by booking-service's share of the commits");
        let hot = "book one hot event";
        let booking = take("booking-service, ms", given.booking_ms, pay("booking-service"), paid)?;
        let event = take("event-service, ms", given.event_ms, pay("event-service"), paid)?;
        let notification = take("notification-service, ms", given.notification_ms, pay("notification-service"), paid)?;
        let postgres = take("PostgreSQL, ms", given.postgres_ms, pay("PostgreSQL") * ours, share)?;
        let mongodb = take("MongoDB, ms", given.mongodb_ms, pay("MongoDB"), paid)?;
        let rabbitmq = take("RabbitMQ, ms", given.rabbitmq_ms, pay("RabbitMQ"), paid)?;
        let fsyncs = take("calls to fsync", given.fsyncs, of_pairs("pay", "fsyncs") * ours, share)?;
        let commit_ms = report["commit_ms"].as_f64().unwrap_or(f64::NAN);
        let commit = take("a commit of PostgreSQL, ms", given.commit_ms, commit_ms, "next to nothing, one at a time")?;
        let measured = groups("operations") / groups("groups");
        let size = take("operations in a group commit", given.group_size, measured, hot)?.max(1.0);
        let measured = groups("seconds") * 1_000.0 / groups("groups");
        let duration = take("that group commit, ms", given.group_ms, measured, hot)?;
        let measured = of_pairs("hot", "cpu_ms/MongoDB");
        let each =
            take("each operation in it, ms", given.hold_ms, measured, "book one hot event, MongoDB's processor time")?;
        let each = each.min(duration / size);
        let group = [duration - each * size, each];
        Ok((Self { booking, event, notification, postgres, mongodb, rabbitmq, fsyncs, commit, group }, table))
    }
}

/// Commits of a program of the platform per paid booking, without those of its loops.
fn commits(report: &Value, program: &str) -> f64 {
    let cost = &report["cost"];
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let wires = cost["wires"].as_array().into_iter().flatten();
    let own = wires.filter(|it| it["wire"] == json!(["platform", program, "PostgreSQL"]));
    let counted = own.map(|it| {
        let meanwhile =
            number(&it["at_rest"][COMMITS]) / number(&cost["rest_seconds"]) * number(&it["counted_seconds"]);
        (number(&it["counted"][COMMITS]) - meanwhile).max(0.0)
    });
    counted.sum::<f64>() / number(&cost["bookings"])
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::{Constants, Measured};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        measured: Measured,
    }

    /// What a run of `bench` may have written.
    pub(crate) fn report() -> Value {
        let hot = json!({
            "cpu_ms": {"MongoDB": 0.25},
            "group_commits": {"groups": 100.0, "operations": 800.0, "seconds": 1.2},
        });
        let cpu = json!({
            "booking-service": 1.0, "event-service": 0.5, "notification-service": 0.2,
            "PostgreSQL": 4.0, "MongoDB": 2.0, "RabbitMQ": 0.5,
        });
        let wire = |program: &str, commits: u32| {
            let counts = json!({"commits": commits, "SELECT": 7});
            let at_rest = json!({"commits": 10});
            json!({"wire": ["platform", program, "PostgreSQL"], "counted": counts, "counted_seconds": 5.0, "at_rest": at_rest})
        };
        json!({
            "commit_ms": 2.0,
            "cost": {"bookings": 10, "rest_seconds": 50.0, "wires": [wire("booking-service", 61), wire("mock-gateway", 21)]},
            "pairs": [{"platform": {"scenarios": {"hot": hot, "pay": {"cpu_ms": cpu, "fsyncs": 4.0}}}}],
        })
    }

    pub(crate) fn constants(report: &Value, flags: &[&str]) -> anyhow::Result<Constants> {
        let given = Command::parse_from([&["scale"], flags].concat()).measured;
        Ok(Constants::read(report, &given)?.0)
    }

    pub(crate) fn assert_near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-6, "{found} instead of {expected}");
    }

    #[test]
    fn the_gateways_share_of_postgresql_is_left_out() {
        let constants = constants(&report(), &[]).unwrap();

        // 60 of 80 commits, once each program's own at rest are taken off.
        assert_near(constants.postgres, 3.0);
        assert_near(constants.fsyncs, 3.0);
    }

    #[test]
    fn a_group_has_a_fixed_part_and_one_for_each_operation() {
        let [fixed, each] = constants(&report(), &[]).unwrap().group;

        // A group of 8 takes 12 ms.
        assert_near(fixed, 10.0);
        assert_near(each, 0.25);
    }

    #[test]
    fn an_option_takes_the_place_of_what_is_measured_or_missing() {
        let mut without = report();
        without["commit_ms"].take();

        let missing = constants(&without, &[]).err().map(|error| error.to_string());
        let given = constants(&without, &["--commit-ms", "5"]).unwrap();

        assert_eq!(
            missing.as_deref(),
            Some("bench.json does not say: a commit of PostgreSQL, ms. Give it as an option")
        );
        assert_near(given.commit, 5.0);
    }
}
