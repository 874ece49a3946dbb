//! Threads behind a child process: one that spawns, one that waits for its end, some that forward its lines.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::{OnceLock, mpsc};
use std::thread;

use anyhow::{Context, Result, anyhow};
use tokio::sync::watch;

use super::LineSink;

type Job = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Spawns from a thread that lives as long as this process: the kernel sends the parent-death signal when the
/// *thread* that spawned a child ends, and test threads end early.
pub(super) fn spawn_from_lasting_thread(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        });
        jobs
    });
    let (answer, child) = mpsc::channel();
    spawner.send((command, answer)).map_err(|_| anyhow!("the spawning thread is gone"))?;
    Ok(child.recv().context("the spawning thread is gone")??)
}

/// Waits for the child on a thread of its own and publishes how it ended.
pub(super) fn reap(mut child: Child) -> watch::Receiver<Option<ExitStatus>> {
    let (exit, receiver) = watch::channel(None);
    thread::spawn(move || {
        let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(0));
        exit.send_replace(Some(status));
    });
    receiver
}

pub(super) fn open_log(path: &Path) -> Result<File> {
    let file = File::options().create(true).append(true).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

pub(super) fn forward_lines(child: &mut Child, mut log: Option<File>, mut sink: LineSink) {
    let (lines, inbox) = mpsc::channel::<String>();
    if let Some(stdout) = child.stdout.take() {
        let lines = lines.clone();
        thread::spawn(move || send_lines(BufReader::new(stdout), &lines));
    }
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || send_lines(BufReader::new(stderr), &lines));
    }
    thread::spawn(move || {
        for line in inbox {
            if let Some(log) = &mut log {
                // A full disk must not keep the line from being shown.
                let _ = writeln!(log, "{line}");
            }
            sink(&line);
        }
    });
}

fn send_lines(mut reader: impl BufRead, lines: &mpsc::Sender<String>) {
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if lines.send(text).is_err() {
            return;
        }
        line.clear();
    }
}
