//! The tables of `bench/README.md`, between two marks of that file.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context, bail};
use platform::Clock;

use crate::{
    load::{Run, count},
    world::World,
};

const BEGIN: &str = "<!-- figures: written by make bench -->";
const END: &str = "<!-- end of figures -->";

/// Figures as they come in.
#[derive(Default)]
pub(crate) struct Report {
    machine: String,
    hot: String,
    scenarios: String,
    cpu: String,
    starts: String,
    memory: BTreeMap<&'static str, Vec<f64>>,
    memory_columns: Vec<String>,
    fsyncs: String,
    not_run: String,
}

impl Report {
    /// No figures yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// What it was measured on.
    pub(crate) async fn machine(&mut self, world: &World) -> anyhow::Result<()> {
        let cores = std::thread::available_parallelism()?;
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or(": unknown");
        let pool = world.stack.database(eventplatform_tests::programs::Program::Booking).await?;
        let postgres: String = sqlx::query_scalar("show server_version").fetch_one(&pool).await?;
        let mongodb = world.stack.mongodb.as_ref().context("no MongoDB")?.kind();
        let date = Clock::system().now().date_naive();
        write!(
            self.machine,
            "{date}, {cores} cores ({}), shared with other work; load, services and servers on the same cores. \
             PostgreSQL {postgres} with fsync, MongoDB by `{mongodb}` with journal.",
            model.trim_start_matches([' ', '\t', ':'])
        )?;
        Ok(())
    }

    /// One number of clients on one event.
    pub(crate) fn hot_event(&mut self, clients: usize, grouped: &Run, single: &Run) {
        let row = format!(
            "| {clients} | {:.0} | {:.1} / {:.1} | {:.0} | {:.1} / {:.1} | **{:.1}** | {} / {} |\n",
            grouped.per_second(),
            grouped.percentile_ms(50.0),
            grouped.percentile_ms(99.0),
            single.per_second(),
            single.percentile_ms(50.0),
            single.percentile_ms(99.0),
            grouped.per_second() / single.per_second().max(f64::EPSILON),
            grouped.errors,
            single.errors,
        );
        eprint!("  {row}");
        self.hot += &row;
    }

    /// A scenario, with the processor time that each part used before and after.
    pub(crate) fn scenario(
        &mut self,
        name: &str,
        clients: usize,
        run: &Run,
        before: &BTreeMap<&'static str, f64>,
        after: &BTreeMap<&'static str, f64>,
    ) {
        let row = format!(
            "| {name} | {clients} | {:.0} | {:.1} | {:.1} | {} |\n",
            run.per_second(),
            run.percentile_ms(50.0),
            run.percentile_ms(99.0),
            run.errors
        );
        eprint!("  {row}");
        self.scenarios += &row;
        let parts = after.iter().filter_map(|(part, seconds)| {
            let ms = (seconds - before.get(part)?) * 1000.0 / count(run.ok.max(1));
            (ms >= 0.01).then(|| format!("{part} {ms:.2}"))
        });
        self.cpu += &format!("| {name} | {} |\n", parts.collect::<Vec<_>>().join(", "));
    }

    /// Times from a program's start to its first ready answer.
    pub(crate) fn start_time(&mut self, name: &str, mut times_ms: Vec<f64>) {
        times_ms.sort_by(f64::total_cmp);
        let (least, median) = (times_ms.first(), times_ms.get(times_ms.len() / 2));
        let row = format!(
            "| {name} | {:.0} | {:.0} |\n",
            least.copied().unwrap_or_default(),
            median.copied().unwrap_or_default()
        );
        eprint!("  {row}");
        self.starts += &row;
    }

    /// Resident memory of every process at one moment.
    pub(crate) fn memory(&mut self, when: &str, rows: BTreeMap<&'static str, f64>) {
        self.memory_columns.push(when.to_owned());
        for (name, mib) in rows {
            self.memory.entry(name).or_default().push(mib);
        }
    }

    /// Calls to fsync per paid booking.
    pub(crate) fn fsyncs(&mut self, server: &str, clients: usize, per_booking: f64) {
        let row = format!("| {server} | {clients} | {per_booking:.1} |\n");
        eprint!("  {row}");
        self.fsyncs += &row;
    }

    /// A figure that could not be taken here.
    pub(crate) fn not_run(&mut self, what: &str) {
        self.not_run += &format!("NOT RUN: {what}\n");
    }

    /// All tables.
    pub(crate) fn text(&self) -> String {
        let columns = self.memory_columns.join(" | ");
        let rule = "---:|".repeat(self.memory_columns.len());
        let mut memory = String::new();
        for (name, values) in &self.memory {
            let values: Vec<_> = values.iter().map(|mib| format!("{mib:.0}")).collect();
            memory += &format!("| {name} | {} |\n", values.join(" | "));
        }
        format!(
            "{}\n\n### One hot event: holds\n\n\
             | clients | grouped, /s | p50 / p99 ms | one by one, /s | p50 / p99 ms | ratio | errors |\n\
             |---:|---:|---:|---:|---:|---:|---:|\n{}\n\
             ### Everything else\n\n| | clients | /s | p50 ms | p99 ms | errors |\n|---|---:|---:|---:|---:|---:|\n{}\n\
             ### Processor time per request, in ms\n\n| | |\n|---|---|\n{}\n\
             ### From start to ready, in ms\n\n| | least | median |\n|---|---:|---:|\n{}\n\
             ### Resident memory, in MiB\n\n| | {columns} |\n|---|{rule}\n{memory}\n\
             ### Calls to fsync per paid booking\n\n| | clients | calls |\n|---|---:|---:|\n{}\n{}",
            self.machine, self.hot, self.scenarios, self.cpu, self.starts, self.fsyncs, self.not_run
        )
    }

    /// Replaces the figures in the file.
    pub(crate) fn write_into(&self, file: &Path) -> anyhow::Result<()> {
        let old = fs::read_to_string(file)?;
        let (Some(begin), Some(end)) = (old.find(BEGIN), old.find(END)) else {
            bail!("the marks {BEGIN:?} and {END:?} are missing");
        };
        let new = format!("{}{BEGIN}\n\n{}\n{}", &old[..begin], self.text().trim_end(), &old[end..]);
        fs::write(file, new)?;
        Ok(())
    }
}
