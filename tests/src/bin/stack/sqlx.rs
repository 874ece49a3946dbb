//! `stack sqlx`: regenerates, or checks, each service's `.sqlx` folder, which lets its queries compile without a
//! database.
//!
//! Per crate with migrations: a database, its migrations, then `cargo check` with `DATABASE_URL` set, whereby sqlx's
//! macros write one JSON file per query. The workspace has a database per service, so one `cargo sqlx prepare` cannot
//! do it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::sqlx::migrate::Migrator;
use anyhow::{Context, Result, bail};
use eventplatform_tests::paths;
use eventplatform_tests::programs::cargo;
use eventplatform_tests::servers::{Durability, Postgres, ensure_database, random_password, scratch_folder};
use platform::Clock;

/// Regenerates each service's `.sqlx` from its migrations and queries.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail if a `.sqlx` folder is not what its crate needs.
    #[arg(long)]
    check: bool,
    /// Only this package, such as `booking-service`; may be repeated.
    #[arg(long, short)]
    package: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let crates = crates_with_migrations(&arguments.package)?;
    let folder = scratch_folder()?;
    let password = random_password();
    let postgres = Postgres::start(&folder.path().join("postgres"), Durability::Unsynced, &password).await?;

    let mut stale = Vec::new();
    for member in &crates {
        let made = folder.path().join(&member.package);
        fs::create_dir(&made)?;
        let url = ensure_database(&postgres.url(), &member.package, &password).await?;
        migrate(&url, &member.migrations()).await?;
        prepare(member, &url, &made).await?;

        let (want, have) = (queries(&made)?, queries(&member.query_folder())?);
        match (want == have, arguments.check) {
            (true, _) => println!("{}: {} queries, up to date", member.package, want.len()),
            (false, true) => stale.push(member.package.as_str()),
            (false, false) => {
                replace(&member.query_folder(), &want)?;
                println!("{}: {} queries, written", member.package, want.len());
            }
        }
    }
    postgres.stop().await;
    postgres.remove_data()?;
    if stale.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    bail!(".sqlx is out of date in {}; run `make generate` and commit the result", stale.join(", "))
}

/// A crate that asks a database of its own.
struct Member {
    package: String,
    dir: PathBuf,
}

impl Member {
    fn migrations(&self) -> PathBuf {
        self.dir.join("migrations")
    }

    fn query_folder(&self) -> PathBuf {
        self.dir.join(".sqlx")
    }
}

fn crates_with_migrations(only: &[String]) -> Result<Vec<Member>> {
    let services = paths::workspace().join("services");
    let mut members = Vec::new();
    for entry in fs::read_dir(&services).with_context(|| format!("cannot read {}", services.display()))? {
        let dir = entry?.path();
        if dir.join("migrations").is_dir() {
            members.push(Member { package: package_name(&dir)?, dir });
        }
    }
    for package in only {
        if !members.iter().any(|member| &member.package == package) {
            bail!("no package {package} with a migrations folder below {}", services.display());
        }
    }
    members.retain(|member| only.is_empty() || only.contains(&member.package));
    members.sort_by(|a, b| a.package.cmp(&b.package));
    Ok(members)
}

fn package_name(dir: &Path) -> Result<String> {
    let manifest = dir.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    Ok(name.with_context(|| format!("{} names no package", manifest.display()))?.to_owned())
}

async fn migrate(url: &str, migrations: &Path) -> Result<()> {
    let migrator = Migrator::new(migrations).await?;
    let pool = ::sqlx::PgPool::connect(url).await?;
    let result = migrator.run(&pool).await;
    pool.close().await;
    result.with_context(|| format!("cannot apply {}", migrations.display()))
}

/// Checks all targets of the crate against the live database; the macros write their files into `made`.
async fn prepare(member: &Member, url: &str, made: &Path) -> Result<()> {
    // Cargo does not know that the macros read a database, so the crate has to look changed.
    touch(&member.dir.join("src/lib.rs"))?;
    let status = cargo()?
        .args(["check", "--quiet", "--all-targets", "--package", &member.package])
        .env("DATABASE_URL", url)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", made)
        .status()
        .await
        .context("cannot start cargo")?;
    // What was checked just now holds whatever the database said; the next build has to look at `.sqlx` again.
    touch(&member.dir.join("src/lib.rs"))?;
    if !status.success() {
        bail!("{} does not compile against its migrations", member.package);
    }
    Ok(())
}

fn touch(file: &Path) -> Result<()> {
    let now = Clock::system().now().into();
    let touch = || fs::File::options().append(true).open(file)?.set_modified(now);
    touch().with_context(|| format!("cannot touch {}", file.display()))
}

/// The query files of a folder by name; empty if there is no such folder.
fn queries(folder: &Path) -> Result<BTreeMap<String, String>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(BTreeMap::new()) };
    entries
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), fs::read_to_string(entry.path())?))
        })
        .collect()
}

fn replace(folder: &Path, files: &BTreeMap<String, String>) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (name, text) in files {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}
