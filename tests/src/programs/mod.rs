//! The programs of the platform: their packages, their binaries, and building them.

mod copies;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::paths;

/// A program of the platform.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, clap::ValueEnum)]
pub enum Program {
    /// user-service.
    User,
    /// event-service.
    Event,
    /// booking-service.
    Booking,
    /// notification-service.
    Notification,
    /// The payment provider's stand-in.
    MockGateway,
    /// The static site's server.
    Frontend,
}

impl Program {
    /// All of them, in the order in which they are started.
    pub const ALL: [Self; 6] =
        [Self::User, Self::Event, Self::Booking, Self::Notification, Self::MockGateway, Self::Frontend];

    /// The name of its binary, and of it in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user-service",
            Self::Event => "event-service",
            Self::Booking => "booking-service",
            Self::Notification => "notification-service",
            Self::MockGateway => "mock-gateway",
            Self::Frontend => "frontend",
        }
    }

    /// Where its package lies in the checkout.
    pub fn folder(self) -> &'static str {
        match self {
            Self::User => "services/user",
            Self::Event => "services/event",
            Self::Booking => "services/booking",
            Self::Notification => "services/notification",
            Self::MockGateway => "services/mock-gateway",
            Self::Frontend => "frontend/server",
        }
    }

    /// Whether it has a schema, so that `migrate` comes before `serve`.
    pub fn has_schema(self) -> bool {
        self != Self::Frontend
    }
}

/// Cargo in the workspace, killed when its handle is dropped.
pub fn cargo() -> Result<Command> {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(paths::workspace()).env("CARGO_TARGET_DIR", paths::cargo_target()?).kill_on_drop(true);
    remove_run_variables(&mut cargo);
    Ok(cargo)
}

/// Takes away what `cargo run` and `cargo test` tell the programs they start. Build scripts look at some of it, so a
/// cargo that inherited it would build their crates anew, and the next one from a shell once more.
pub fn remove_run_variables(command: &mut Command) {
    const PREFIXES: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    let told = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in told.filter(|name| name == "CARGO" || PREFIXES.iter().any(|prefix| name.starts_with(prefix))) {
        command.env_remove(name);
    }
}

/// What git says about the workspace.
async fn git(arguments: &[&str]) -> Result<String> {
    output_of(Command::new("git").args(arguments).current_dir(paths::workspace())).await
}

/// What a command prints; fails with what it complains about.
async fn output_of(command: &mut Command) -> Result<String> {
    let output = command.output().await.with_context(|| format!("cannot start {:?}", command.as_std()))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{:?}: {complaint}", command.as_std());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// What git calls the checkout, with a mark if it has been changed since.
pub async fn version() -> String {
    git(&["describe", "--tags", "--always", "--dirty"]).await.unwrap_or_else(|_| "unknown".to_owned())
}

/// The built programs.
#[derive(Clone, Debug)]
pub struct Binaries {
    dir: PathBuf,
}

impl Binaries {
    /// Names the folder of built programs.
    pub const VARIABLE: &str = "STACK_BINARIES";

    /// The programs in the folder that `STACK_BINARIES` names; without it, builds them, once in this process.
    pub async fn locate() -> Result<Self> {
        static BUILT: OnceCell<Binaries> = OnceCell::const_new();
        match std::env::var_os(Self::VARIABLE) {
            Some(dir) => Self::find(Path::new(&dir)),
            None => BUILT.get_or_try_init(Self::build).await.cloned(),
        }
    }

    /// Builds all programs in the profile of the running executable, showing cargo's output, and finds them.
    pub async fn build() -> Result<Self> {
        let release = std::env::current_exe()?.components().any(|part| part.as_os_str() == "release");
        Self::build_in(&paths::workspace(), &paths::cargo_target()?, release).await
    }

    /// The workspace there; in the profile for releases, or for development.
    async fn build_in(workspace: &Path, target: &Path, release: bool) -> Result<Self> {
        let mut cargo = cargo()?;
        cargo.current_dir(workspace).env("CARGO_TARGET_DIR", target);
        // The whole workspace, as in the Makefile: another selection would compile dependencies again, with other features.
        cargo.args(["build", "--workspace"]).args(Program::ALL.map(|program| format!("--bin={}", program.name())));
        if release {
            cargo.arg("--release");
        }
        let status = cargo.status().await.context("cannot start cargo")?;
        if !status.success() {
            bail!("the programs do not build; see cargo's output above");
        }
        Self::find(&target.join(if release { "release" } else { "debug" }))
    }

    /// The programs in `dir`; fails if one is missing.
    pub fn find(dir: &Path) -> Result<Self> {
        let binaries = Self { dir: dir.to_owned() };
        for program in Program::ALL {
            let path = binaries.path(program);
            if !path.is_file() {
                bail!("{} is missing; build it: make build", path.display());
            }
        }
        Ok(binaries)
    }

    /// Where that program lies.
    pub fn path(&self, program: Program) -> PathBuf {
        self.dir.join(program.name())
    }
}
