//! What processes cost, read from `/proc`: processor time, resident memory; and calls to fsync, counted by strace.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context;

/// Clock ticks per second of `/proc/<pid>/stat`; 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor seconds that a process and its threads used so far, ended children not counted.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is a name in parentheses that may hold blanks.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

/// Resident memory of a process, in MiB.
pub(crate) fn resident_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

/// The process and its descendants.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let mut pids = vec![root];
    let mut next = 0;
    while let Some(&pid) = pids.get(next) {
        let children = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in children {
            let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            pids.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        next += 1;
    }
    pids
}

/// Counts calls to fsync and fdatasync in a process tree while it lives.
pub(crate) struct FsyncCounter {
    strace: Child,
    output: std::path::PathBuf,
}

impl FsyncCounter {
    /// Attaches strace to the whole tree. Fails where strace is missing or may not attach.
    pub(crate) fn attach(root: u32) -> anyhow::Result<Self> {
        let output = std::env::temp_dir().join(format!("fsyncs-{root}-{}", std::process::id()));
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-e", "trace=fsync,fdatasync", "-o"]).arg(&output);
        for pid in tree(root) {
            command.args(["-p", &pid.to_string()]);
        }
        let strace = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("strace cannot be started")?;
        let counter = Self { strace, output };
        // Attached once the kernel says who traces the root.
        for _ in 0..100 {
            let status = fs::read_to_string(format!("/proc/{root}/status")).unwrap_or_default();
            if status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0")) {
                return Ok(counter);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        anyhow::bail!("strace may not attach to process {root}")
    }

    /// Detaches and returns the number of calls.
    pub(crate) fn finish(mut self) -> anyhow::Result<u64> {
        let pid = self.strace.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status().context("kill")?;
        self.strace.wait()?;
        let log = fs::read_to_string(&self.output).unwrap_or_default();
        Ok(log.lines().filter(|line| line.contains("sync(") && !line.contains("resumed")).count() as u64)
    }
}

impl Drop for FsyncCounter {
    fn drop(&mut self) {
        // Both fail where finish() has done it already.
        self.strace.kill().ok();
        self.strace.wait().ok();
        fs::remove_file(&self.output).ok();
    }
}
