//! Programs that are built from other sources than the checkout's: an older version.

use std::path::Path;

use anyhow::{Result, ensure};
use tokio::fs;
use tokio::process::Command;

use super::{Binaries, Program, cargo, git, output_of};
use crate::paths;

impl Binaries {
    /// The programs of an older version: the latest tag before this commit, else its parent. They are built once for
    /// each commit and kept in the cache folder. `None` where there is no history.
    pub async fn older() -> Result<Option<(String, Self)>> {
        let described = git(&["describe", "--tags", "--abbrev=0", "HEAD^"]).await;
        let Ok(version) = described.or(git(&["rev-parse", "--short", "HEAD^"]).await) else { return Ok(None) };
        let commit = git(&["rev-parse", &format!("{version}^{{commit}}")]).await?;
        let cache = paths::cache()?.join("older");
        let programs = cache.join(&commit);
        if let Ok(binaries) = Self::find(&programs) {
            return Ok(Some((version, binaries)));
        }

        let sources = cache.join("sources");
        fs::remove_dir_all(&sources).await.ok();
        fs::create_dir_all(&sources).await?;
        fs::create_dir_all(&programs).await?;
        let archive = sources.join("sources.tar");
        git(&["archive", "--output", &archive.to_string_lossy(), &commit]).await?;
        // Files get the present time, so that cargo sees what differs from the version that was built there before.
        let unpacked = Command::new("tar").arg("-xmf").arg(&archive).current_dir(&sources).status().await?;
        ensure!(unpacked.success(), "tar cannot unpack {}", archive.display());
        let built = build_copy(&sources, &cache.join("target")).await?;
        for program in Program::ALL {
            fs::copy(built.path(program), programs.join(program.name())).await?;
        }
        Ok(Some((version, Self::find(&programs)?)))
    }
}

/// Builds sources in a target folder of their own, which begins with the dependencies that are built for the checkout.
///
/// To cargo, the crates of one copy of a workspace are those of another: in one folder, each would be taken for the
/// other's.
async fn build_copy(sources: &Path, target: &Path) -> Result<Binaries> {
    if !target.exists() {
        share_dependencies(sources, target).await?;
    }
    Binaries::build_in(sources, target, false).await
}

/// Fills a new target folder with hard links to the debug builds of the dependencies; without them, cargo builds them
/// anew. What belongs to the workspace's crates goes again, for cargo writes some of its files in place.
async fn share_dependencies(sources: &Path, target: &Path) -> Result<()> {
    let (from, to) = (paths::cargo_target()?.join("debug"), target.join("debug"));
    fs::create_dir_all(&to).await?;
    let parts = [".fingerprint", "build", "deps"].map(|part| from.join(part));
    Command::new("cp").arg("-al").args(parts).arg(&to).status().await.ok();
    let mut clean = cargo()?;
    clean.args(["clean", "--quiet", "--workspace"]).current_dir(sources).env("CARGO_TARGET_DIR", target);
    output_of(&mut clean).await.map(drop)
}
