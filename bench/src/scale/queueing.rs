//! A discrete-event simulation of queues: jobs arrive as a Poisson process and visit stations in a given order.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::load::count;

/// A resource that jobs wait for, first come first served. Each of its lanes has a queue and servers of its own.
#[derive(Clone, Copy)]
pub(crate) struct Station {
    pub(crate) lanes: usize,
    pub(crate) servers: usize,
    /// The most jobs that one server serves at once. It takes what waits when it is free, and never waits for more.
    pub(crate) batch: usize,
    /// How long it serves them, in seconds: so long, and so much longer for each job.
    pub(crate) fixed: f64,
    pub(crate) each: f64,
}

/// Jobs that come at random, and the stations that each of them visits.
pub(crate) struct Workload<'a> {
    pub(crate) stations: &'a [Station],
    /// Indices of stations, in the order of the visits.
    pub(crate) route: &'a [usize],
    pub(crate) per_second: f64,
    pub(crate) jobs: usize,
    pub(crate) seed: u64,
}

/// How long jobs took.
pub(crate) struct Times {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

#[derive(Default)]
struct Lane {
    busy: usize,
    waiting: VecDeque<usize>,
}

struct Job {
    arrived: Duration,
    /// Which lane of each station it takes.
    lane: usize,
    visits: usize,
}

enum Event {
    Arrival,
    Served { station: usize, lane: usize, batch: Vec<usize> },
}

struct Simulation<'a> {
    workload: &'a Workload<'a>,
    rng: StdRng,
    now: Duration,
    /// What happens when; the number orders what happens at the same time.
    calendar: BTreeMap<(Duration, usize), Event>,
    scheduled: usize,
    lanes: Vec<Vec<Lane>>,
    jobs: Vec<Job>,
    /// Seconds of each job that is done, in order of arrival.
    seconds: Vec<f64>,
}

impl Workload<'_> {
    /// Follows all jobs to their end. The first fifth is left out of the times: the queues are still empty then.
    pub(crate) fn simulate(&self) -> Times {
        let lanes = self.stations.iter().map(|it| (0..it.lanes).map(|_| Lane::default()).collect());
        let mut simulation = Simulation {
            workload: self,
            rng: StdRng::seed_from_u64(self.seed),
            now: Duration::ZERO,
            calendar: BTreeMap::from([((Duration::ZERO, 0), Event::Arrival)]),
            scheduled: 1,
            lanes: lanes.collect(),
            jobs: Vec::with_capacity(self.jobs),
            seconds: vec![0.0; self.jobs],
        };
        while let Some(((at, _), event)) = simulation.calendar.pop_first() {
            simulation.now = at;
            simulation.handle(event);
        }
        let mut seconds = simulation.seconds.split_off(self.jobs / 5);
        let mean = seconds.iter().sum::<f64>() / count(seconds.len());
        seconds.sort_by(f64::total_cmp);
        let percentile = |percent: usize| seconds.get(seconds.len() * percent / 100).copied().unwrap_or(f64::NAN);
        Times { mean, p50: percentile(50), p99: percentile(99) }
    }
}

impl Simulation<'_> {
    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrival => {
                let job = self.jobs.len();
                let lane = self.rng.random_range(0..1 << 30);
                self.jobs.push(Job { arrived: self.now, lane, visits: 0 });
                if self.jobs.len() < self.workload.jobs {
                    // Intervals of a Poisson process are distributed exponentially.
                    let interval = -(1.0 - self.rng.random::<f64>()).ln() / self.workload.per_second;
                    self.schedule(interval, Event::Arrival);
                }
                self.visit(job);
            }
            Event::Served { station, lane, batch } => {
                self.lanes[station][lane].busy -= 1;
                self.serve(station, lane);
                for job in batch {
                    self.jobs[job].visits += 1;
                    self.visit(job);
                }
            }
        }
    }

    /// Queues the job at its next station, or ends it.
    fn visit(&mut self, job: usize) {
        let Job { arrived, lane, visits } = self.jobs[job];
        if let Some(&station) = self.workload.route.get(visits) {
            let lane = lane % self.workload.stations[station].lanes;
            self.lanes[station][lane].waiting.push_back(job);
            self.serve(station, lane);
        } else {
            self.seconds[job] = self.now.saturating_sub(arrived).as_secs_f64();
        }
    }

    /// Begins with what waits in the lane, if a server is free.
    fn serve(&mut self, station: usize, number: usize) {
        let Station { servers, batch, fixed, each, .. } = self.workload.stations[station];
        let lane = &mut self.lanes[station][number];
        if lane.busy < servers && !lane.waiting.is_empty() {
            lane.busy += 1;
            let batch: Vec<_> = lane.waiting.drain(..lane.waiting.len().min(batch)).collect();
            let seconds = fixed + each * count(batch.len());
            self.schedule(seconds, Event::Served { station, lane: number, batch });
        }
    }

    fn schedule(&mut self, seconds: f64, event: Event) {
        self.calendar.insert((self.now + Duration::from_secs_f64(seconds), self.scheduled), event);
        self.scheduled += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{Station, Workload};

    /// One job at a time, for a second.
    const SERVER: Station = Station { lanes: 1, servers: 1, batch: 1, fixed: 1.0, each: 0.0 };

    fn mean(stations: &[Station], route: &[usize], per_second: f64) -> f64 {
        Workload { stations, route, per_second, jobs: 400_000, seed: 1 }.simulate().mean
    }

    /// The mean time in a queue M/D/1 with a service of one second, by Pollaczek and Khinchine.
    fn m_d_1(load: f64) -> f64 {
        1.0 + load / (2.0 * (1.0 - load))
    }

    fn assert_near(simulated: f64, known: f64) {
        assert!((simulated / known - 1.0).abs() < 0.04, "{simulated} instead of {known}");
    }

    #[test]
    fn one_server_makes_jobs_wait_as_pollaczek_and_khinchine_say() {
        for load in [0.1, 0.5, 0.8] {
            assert_near(mean(&[SERVER], &[0], load), m_d_1(load));
        }
    }

    #[test]
    fn lanes_share_the_jobs_and_do_not_help_each_other() {
        assert_near(mean(&[Station { lanes: 10, ..SERVER }], &[0], 8.0), m_d_1(0.8));
    }

    #[test]
    fn nobody_waits_again_for_a_second_server_that_is_as_fast() {
        assert_near(mean(&[SERVER, SERVER], &[0, 1], 0.8), m_d_1(0.8) + 1.0);
    }

    #[test]
    fn nobody_waits_where_there_are_servers_for_all() {
        assert_near(mean(&[Station { servers: 1_000, ..SERVER }], &[0], 100.0), 1.0);
    }

    #[test]
    fn two_servers_with_one_queue_make_jobs_wait_as_erlang_c_bounds_it() {
        // At the same load, constant services make jobs wait about half as long as exponential ones, for which Erlang's
        // formula C gives load² / (1 - load²) for two servers.
        let load: f64 = 0.8;
        let exponential = load.powi(2) / (1.0 - load.powi(2));

        let waiting = mean(&[Station { servers: 2, ..SERVER }], &[0], 2.0 * load) - 1.0;

        assert!((0.48..0.56).contains(&(waiting / exponential)), "{waiting} of {exponential}");
    }

    #[test]
    fn a_group_takes_all_that_came_during_the_last_one() {
        // A group is followed by another at once, or, with the probability of no arrival during it, by an idle time of
        // one interval on average. Who comes during a group waits for half of it on average, then for a group.
        for per_second in [0.2_f64, 2.0, 200.0] {
            let idle = (-per_second).exp() / per_second;
            let known = 1.0 + 0.5 / (1.0 + idle);

            let simulated = mean(&[Station { batch: usize::MAX, ..SERVER }], &[0], per_second);

            assert_near(simulated, known);
        }
    }

    #[test]
    fn groups_of_a_limited_size_fall_behind_above_their_rate() {
        // 10 jobs take 0.5 + 10 * 0.05 s: 10 a second.
        let groups = Station { batch: 10, fixed: 0.5, each: 0.05, ..SERVER };

        let (below, above) = (mean(&[groups], &[0], 9.0), mean(&[groups], &[0], 11.0));

        assert!(below < 5.0, "{below}");
        // 400,000 jobs take 1/11 longer than they take to come.
        assert_near(above, 0.6 * 400_000.0 * (1.0 / 10.0 - 1.0 / 11.0));
    }

    #[test]
    fn the_same_seed_gives_the_same_times() {
        let run = |seed| Workload { stations: &[SERVER], route: &[0], per_second: 0.5, jobs: 1_000, seed }.simulate();

        assert_eq!(run(7).p99.to_bits(), run(7).p99.to_bits());
        assert_ne!(run(7).p99.to_bits(), run(8).p99.to_bits());
    }
}
