//! The platform as queues: what each resource can give, and how long a booking takes.

use clap::Args;

use super::{
    constants::Constants,
    queueing::{Station, Times, Workload},
};
use crate::load::count;

/// `BATCH_MAX` of event-service.
const GROUP_MAX: usize = 500;
/// A slower request makes its replica admit fewer; see `crates/platform/src/server/admission.rs`.
const SLOW_MS: f64 = 1_000.0;

#[derive(Args)]
pub(crate) struct Assumed {
    /// Cores of the machine of one database.
    #[arg(long, default_value_t = 32)]
    pub(crate) cores: usize,
    /// Cores of one replica of a service.
    #[arg(long, default_value_t = 2)]
    pub(crate) replica_cores: usize,
    /// The share of its limit that a resource is used to.
    #[arg(long, default_value_t = 0.7)]
    pub(crate) utilization: f64,
    /// Seeds the arrivals of the simulation.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// What there is of each resource.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) events: usize,
    /// Of booking-service.
    pub(crate) databases: usize,
    /// Of MongoDB, each with a group of event-service.
    pub(crate) shards: usize,
    /// In which RabbitMQ keeps messages for notification-service.
    pub(crate) queues: usize,
}

/// The platform as it is.
pub(crate) const TODAY: Layout = Layout { events: 1, databases: 1, shards: 1, queues: 1 };

/// What a booking costs, on which machines.
pub(crate) struct Model {
    pub(crate) constants: Constants,
    pub(crate) assumed: Assumed,
}

impl Model {
    /// What one event gives, in paid bookings a second: full groups, in which each booking has a hold and a confirmation.
    pub(crate) fn full_groups(&self) -> f64 {
        let [fixed, each] = self.constants.group;
        1_000.0 / (fixed / count(GROUP_MAX) + each) / 2.0
    }

    /// What each resource gives in bookings a second, the scarcest first.
    pub(crate) fn limits(&self, layout: Layout) -> [(&'static str, f64); 4] {
        let machine = count(self.assumed.cores);
        let mut limits = [
            ("group commits of an event", self.full_groups() * count(layout.events)),
            ("PostgreSQL's processors", 1_000.0 / self.constants.postgres * machine * count(layout.databases)),
            // An event is in one shard.
            (
                "MongoDB's processors",
                1_000.0 / self.constants.mongodb * machine * count(layout.shards.min(layout.events)),
            ),
            // A queue is one process of Erlang, which uses one core.
            ("RabbitMQ's queue", 1_000.0 / self.constants.rabbitmq * count(layout.queues)),
        ];
        for (_, per_second) in &mut limits {
            *per_second *= self.assumed.utilization;
        }
        limits.sort_by(|one, other| one.1.total_cmp(&other.1));
        limits
    }

    /// Cores that so many milliseconds of each booking keep busy.
    pub(crate) fn cores(&self, per_second: f64, ms: f64) -> f64 {
        (per_second * ms / 1_000.0 / self.assumed.utilization).ceil().max(1.0)
    }

    /// How long both requests of a booking take, with as many replicas, databases and shards as they need.
    pub(crate) fn simulate(&self, per_second: f64, events: usize) -> Times {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of cores")]
        let cores = |ms: f64, visits: f64| Station {
            lanes: 1,
            servers: self.cores(per_second, ms) as usize,
            batch: 1,
            fixed: ms / visits / 1_000.0,
            each: 0.0,
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "five seconds of at most 100,000")]
        let jobs = (per_second * 5.0).max(20_000.0) as usize;
        let [fixed, each] = self.constants.group.map(|ms| ms / 1_000.0);
        let groups = Station { lanes: events, servers: 1, batch: GROUP_MAX, fixed, each };
        // All commits that wait at the same time share a call to fsync.
        let log =
            Station { lanes: 1, servers: 1, batch: usize::MAX, fixed: self.constants.commit / 1_000.0, each: 0.0 };
        let stations = [
            cores(self.constants.booking, 4.0),
            cores(self.constants.postgres, 4.0),
            log,
            cores(self.constants.event, 2.0),
            groups,
        ];
        // Claim and first write; hold or confirm; last write and answer. Twice: book, pay.
        let request = [0, 1, 2, 3, 4, 0, 1, 2];
        Workload { stations: &stations, route: &request.repeat(2), per_second, jobs, seed: self.assumed.seed }
            .simulate()
    }

    /// The rate at which people may be let to one event, so that 99 % have both answers within two seconds.
    pub(crate) fn admission_rate(&self) -> f64 {
        let (mut good, mut bad) = (0.0, self.full_groups());
        for _ in 0..12 {
            let rate = f64::midpoint(good, bad);
            let in_time = self.simulate(rate, 1).p99 * 1_000.0 <= 2.0 * SLOW_MS;
            *if in_time { &mut good } else { &mut bad } = rate;
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::constants::tests::{assert_near, constants, report},
        Assumed, Layout, Model, TODAY,
    };

    fn model(flags: &[&str]) -> Model {
        let assumed = Assumed { cores: 32, replica_cores: 2, utilization: 0.5, seed: 1 };
        Model { constants: constants(&report(), flags).unwrap(), assumed }
    }

    #[test]
    fn a_full_group_limits_one_event_and_shards_do_not_help_it() {
        let model = model(&[]);
        let limit = |shards| model.limits(Layout { shards, ..TODAY })[0];

        // A group has 10 ms and 0.25 ms for each operation; 500 take 135 ms, and a booking needs two of them.
        assert_near(model.full_groups(), 500.0 / 0.135 / 2.0);
        assert_eq!(limit(1).0, "group commits of an event");
        assert_near(limit(10).1, limit(1).1);
    }

    #[test]
    fn more_events_are_limited_by_what_they_share() {
        let model = model(&[]);
        let limit = |databases, queues| model.limits(Layout { events: 1_000, databases, queues, ..TODAY })[0];

        assert_eq!(limit(1, 1).0, "RabbitMQ's queue");
        assert_near(limit(1, 1).1, 1_000.0);
        assert_eq!(limit(1, 10).0, "PostgreSQL's processors");
        assert_eq!(limit(10, 10).0, "MongoDB's processors");
        assert_near(limit(10, 10).1, 8_000.0);
    }

    #[test]
    fn a_lonely_booking_takes_the_time_of_its_steps() {
        let times = model(&[]).simulate(0.001, 1_000);

        // Processors 1 + 3 + 0.5, four commits of 2 and two groups of one at 10.25 each.
        assert_near(times.p50, 0.001 * (4.5 + 8.0 + 20.5));
    }

    #[test]
    fn the_admission_rate_keeps_nearly_all_within_two_seconds() {
        let model = model(&["--group-ms", "440"]);

        let rate = model.admission_rate();

        assert!(rate > 0.0 && rate < model.full_groups(), "{rate}");
        assert!(model.simulate(rate, 1).p99 <= 2.0);
        assert!(model.simulate(rate * 1.2, 1).p99 > 2.0);
    }
}
