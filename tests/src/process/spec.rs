//! What to start and how: program, arguments, environment, user, where the output goes.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

use super::Process;
use super::spawn::{forward_lines, open_log, reap, spawn_from_lasting_thread};
use crate::paths;

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
