//! Makes programs as slow as on a smaller machine, by a control group of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

/// Of each of these, the kernel gives the group its part.
const PERIOD: Duration = Duration::from_millis(100);
/// Clock ticks per second of `/proc`; 100 on every Linux that Rust runs on.
pub const TICKS_PER_SECOND: f64 = 100.0;
/// Where control groups are mounted: the hierarchy of the processor in version 1, the only one in version 2.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"];

/// Processes that share a limited part of the processors' time, until it is dropped.
pub struct CpuQuota {
    group: PathBuf,
    parent: PathBuf,
}

impl CpuQuota {
    /// Lets these processes together use `cores` of a core's time, such as 0.5. Fails where control groups cannot be
    /// made, as in most containers.
    pub fn limit(pids: &[i32], cores: f64) -> Result<Self> {
        let parent = MOUNTS.iter().map(Path::new).find(|mount| mount.join("cgroup.procs").exists());
        let parent = parent.context("no control groups for processors are mounted")?.to_owned();
        let group = parent.join(format!("eventplatform-{}", std::process::id()));
        fs::create_dir(&group).with_context(|| format!("cannot make {}", group.display()))?;
        let quota = Self { group, parent };
        let (period, part) = (PERIOD.as_micros(), PERIOD.mul_f64(cores).as_micros());
        if quota.group.join("cpu.max").exists() {
            fs::write(quota.group.join("cpu.max"), format!("{part} {period}"))?;
        } else {
            fs::write(quota.group.join("cpu.cfs_period_us"), period.to_string())?;
            fs::write(quota.group.join("cpu.cfs_quota_us"), part.to_string())?;
        }
        for pid in pids {
            fs::write(quota.group.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(quota)
    }
}

impl Drop for CpuQuota {
    /// Processes go to the parent group, for a group that has some cannot be removed.
    fn drop(&mut self) {
        let pids = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines() {
            fs::write(self.parent.join("cgroup.procs"), pid).ok();
        }
        fs::remove_dir(&self.group).ok();
    }
}

/// Processor seconds of a process, its threads and the children that it saw end; 0 once it has ended.
pub fn cpu_seconds(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The second field is a name in parentheses that may hold blanks; the four fields are the 14th to the 17th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(4);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}
