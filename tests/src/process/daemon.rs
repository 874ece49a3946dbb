//! Processes that are stopped and started again, as tests of failures and restarts do.

use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::Signal;
use tokio::sync::Mutex;

use super::{Process, Spec};

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
