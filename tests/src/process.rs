//! Child processes that end with this one: started in a process group of their own, stopped gently, killed if they do
//! not listen, and killed by the kernel should this process vanish.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::sync::{Mutex, watch};

use crate::paths;

const PAUSE: Duration = Duration::from_millis(5);
/// How long a dropped process may take to stop before it is killed.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// Takes the lines that a process prints.
pub type LineSink = Box<dyn FnMut(&str) + Send>;

/// What to start and how.
pub struct Spec {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: HashMap<OsString, OsString>,
    clean: bool,
    dir: Option<PathBuf>,
    user: Option<&'static str>,
    stop_signal: Signal,
    log: Option<PathBuf>,
    sink: Option<LineSink>,
}

impl Spec {
    /// A process of that name, for messages, and that program. It inherits the environment and the output.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: HashMap::new(),
            clean: false,
            dir: None,
            user: None,
            stop_signal: Signal::TERM,
            log: None,
            sink: None,
        }
    }

    /// Appends arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Passes on nothing of this program's environment but PATH, HOME, LOG_LEVEL and RUST_BACKTRACE.
    #[must_use]
    pub fn clean_environment(mut self) -> Self {
        self.clean = true;
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Runs it as that user of the system; needs root.
    #[must_use]
    pub fn user(mut self, user: Option<&'static str>) -> Self {
        self.user = user;
        self
    }

    /// The signal that asks it to stop; SIGTERM unless told otherwise.
    #[must_use]
    pub fn stop_signal(mut self, signal: Signal) -> Self {
        self.stop_signal = signal;
        self
    }

    /// Appends what it prints to a file.
    #[must_use]
    pub fn log_to(mut self, file: impl Into<PathBuf>) -> Self {
        self.log = Some(file.into());
        self
    }

    /// Hands every line it prints to `sink`, beside the log file if there is one.
    #[must_use]
    pub fn lines_to(mut self, sink: LineSink) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Starts it.
    pub fn spawn(self) -> Result<Process> {
        let mut command = self.command()?;
        let log = self.log.as_ref().map(|path| open_log(path)).transpose()?;
        match (&log, &self.sink) {
            (_, Some(_)) => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
            (Some(file), None) => command.stdout(file.try_clone()?).stderr(file.try_clone()?),
            (None, None) => &mut command,
        };
        let mut child = spawn_from_lasting_thread(command)
            .with_context(|| format!("cannot start {} ({})", self.name, self.program.display()))?;
        if let Some(sink) = self.sink {
            forward_lines(&mut child, log, sink);
        }
        let pid = Pid::from_child(&child);
        Ok(Process { name: self.name, pid, exit: reap(child), log: self.log, stop_signal: self.stop_signal })
    }

    fn command(&self) -> Result<Command> {
        let mut command = match paths::on_path("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                if let Some(user) = self.user {
                    command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--init-groups"]);
                }
                command.arg("--pdeathsig=TERM").arg(&self.program);
                command
            }
            None if self.user.is_some() => bail!("setpriv (Debian package util-linux) is needed to change users"),
            None => Command::new(&self.program),
        };
        if self.clean {
            let kept = ["PATH", "HOME", "LOG_LEVEL", "RUST_BACKTRACE"];
            let kept = kept.into_iter().filter_map(|name| Some((name, env::var_os(name)?)));
            command.env_clear().envs(kept);
        }
        command.args(&self.args).envs(&self.env).stdin(Stdio::null()).process_group(0);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        Ok(command)
    }

    /// Runs it to its end; fails, with what it printed, unless it exits with 0.
    pub fn run(self) -> Result<()> {
        let output = self.command()?.output();
        let output = output.with_context(|| format!("cannot start {} ({})", self.name, self.program.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let printed = [output.stdout, output.stderr].concat();
        bail!("{} failed ({}):\n{}", self.name, output.status, String::from_utf8_lossy(&printed).trim_end())
    }
}

/// A running child process. Dropping it stops it and kills what is left of its process group.
pub struct Process {
    name: String,
    pid: Pid,
    exit: watch::Receiver<Option<ExitStatus>>,
    log: Option<PathBuf>,
    stop_signal: Signal,
}

impl Process {
    /// The name it was given, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&self) -> bool {
        self.exit.borrow().is_none()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        let status = exit.wait_for(Option::is_some).await.expect("the reaper publishes before it ends");
        status.expect("waited for")
    }

    /// Fails, with the end of its log, if it has ended.
    pub fn check_running(&self) -> Result<()> {
        match *self.exit.borrow() {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}){}", self.name, self.last_lines()),
        }
    }

    /// Sends a signal to the process alone, not to its group.
    pub fn signal(&self, signal: Signal) {
        if self.is_running() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Asks it to stop and waits; after `patience`, kills its group.
    pub async fn stop(&self, patience: Duration) {
        self.signal(self.stop_signal);
        let ended = tokio::time::timeout(patience, self.wait()).await;
        if ended.is_err() {
            eprintln!("{} did not stop within {} s: killed", self.name, patience.as_secs());
        }
        self.kill().await;
    }

    /// Kills it and its group at once, like `kill -9`, and waits until all of it is gone.
    pub async fn kill(&self) {
        while self.group_lives() {
            let _ = kill_process_group(self.pid, Signal::KILL);
            tokio::time::sleep(PAUSE).await;
        }
        self.wait().await;
    }

    fn group_lives(&self) -> bool {
        test_kill_process_group(self.pid).is_ok()
    }

    /// The end of its log, as the tail of an error message.
    fn last_lines(&self) -> String {
        let Some(log) = &self.log else { return String::new() };
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        format!("; the end of {}:\n{tail}", log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(self.stop_signal);
        let patience = Instant::now() + DROP_PATIENCE;
        while self.group_lives() {
            if Instant::now() > patience {
                let _ = kill_process_group(self.pid, Signal::KILL);
            }
            thread::sleep(PAUSE);
        }
    }
}

/// A process that can be started again the same way after it was stopped or killed.
pub struct Daemon {
    make: Box<dyn Fn() -> Spec + Send + Sync>,
    running: Mutex<Option<Process>>,
}

impl Daemon {
    /// Starts what `make` describes.
    pub fn start(make: impl Fn() -> Spec + Send + Sync + 'static) -> Result<Self> {
        let process = make().spawn()?;
        Ok(Self { make: Box::new(make), running: Mutex::new(Some(process)) })
    }

    /// Starts it again, unless it runs.
    pub async fn up(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        if !running.as_ref().is_some_and(Process::is_running) {
            *running = Some((self.make)().spawn()?);
        }
        Ok(())
    }

    /// Stops it gently, killing it after `patience`.
    pub async fn stop(&self, patience: Duration) {
        if let Some(process) = self.running.lock().await.take() {
            process.stop(patience).await;
        }
    }

    /// Kills it like `kill -9`.
    pub async fn kill(&self) {
        if let Some(process) = self.running.lock().await.take() {
            process.kill().await;
        }
    }

    /// Sends it a signal, such as SIGSTOP or SIGCONT.
    pub async fn signal(&self, signal: Signal) {
        if let Some(process) = self.running.lock().await.as_ref() {
            process.signal(signal);
        }
    }

    /// Its process id while it runs.
    pub async fn pid(&self) -> Option<i32> {
        self.running.lock().await.as_ref().filter(|process| process.is_running()).map(Process::pid)
    }

    /// Fails, with the end of its log, if it does not run.
    pub async fn check_running(&self) -> Result<()> {
        match self.running.lock().await.as_ref() {
            Some(process) => process.check_running(),
            None => bail!("stopped"),
        }
    }

    /// Waits until the present process ends by itself; `None` if none runs.
    pub async fn ended(&self) -> Option<ExitStatus> {
        let exit = self.running.lock().await.as_ref().map(|process| process.exit.clone());
        let mut exit = exit?;
        exit.wait_for(Option::is_some).await.ok().and_then(|status| *status)
    }
}

type Job = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Spawns from a thread that lives as long as this process: the kernel sends the parent-death signal when the
/// *thread* that spawned a child ends, and test threads end early.
fn spawn_from_lasting_thread(command: Command) -> Result<Child> {
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
fn reap(mut child: Child) -> watch::Receiver<Option<ExitStatus>> {
    let (exit, receiver) = watch::channel(None);
    thread::spawn(move || {
        let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(0));
        exit.send_replace(Some(status));
    });
    receiver
}

fn open_log(path: &Path) -> Result<File> {
    let file = File::options().create(true).append(true).open(path);
    file.with_context(|| format!("cannot write {}", path.display()))
}

fn forward_lines(child: &mut Child, mut log: Option<File>, mut sink: LineSink) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Spec {
        Spec::new("shell", "/bin/sh").args(["-c", script])
    }

    #[tokio::test]
    async fn a_process_that_does_not_listen_is_killed_with_its_children() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let stubborn = "trap '' TERM; sh -c 'trap \"\" TERM; echo ready; sleep 100 & wait' & while :; do wait; done";
        let process = shell(stubborn).log_to(log.path()).spawn().unwrap();
        while !fs::read_to_string(log.path()).unwrap().contains("ready") {
            tokio::time::sleep(PAUSE).await;
        }

        process.stop(Duration::from_millis(50)).await;

        assert!(!process.is_running());
        assert!(!process.group_lives());
    }

    #[tokio::test]
    async fn a_process_that_ended_is_reported_with_its_last_lines() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let process = shell("echo no such database; exit 3").log_to(log.path()).spawn().unwrap();
        process.wait().await;

        let error = process.check_running().unwrap_err().to_string();

        assert!(error.contains("exit status: 3") && error.contains("no such database"), "{error}");
    }

    #[tokio::test]
    async fn a_daemon_starts_again_after_it_was_killed() {
        let daemon = Daemon::start(|| shell("sleep 100")).unwrap();
        let first = daemon.pid().await;
        daemon.kill().await;
        assert!(daemon.pid().await.is_none());

        daemon.up().await.unwrap();

        assert!(daemon.pid().await.is_some_and(|pid| Some(pid) != first));
    }
}
