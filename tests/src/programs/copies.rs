//! Programs that are built from other sources than the checkout's: an older version, and the mutants.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::fs;
use tokio::process::Command;

use super::{Binaries, Program, cargo, git, output_of};
use crate::paths;

/// The switch by which a program becomes a mutant, and one patch for each guard that can be taken away.
const PATCHES: &str = "tests/faults/mutants";

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

    /// The programs of the checkout with the patches of `tests/faults/mutants`. Sources and what is built of them stay,
    /// so that cargo compiles only what has changed since.
    pub async fn mutants() -> Result<Self> {
        let folder = paths::cargo_target()?.join("faults/mutants");
        let (repository, sources) = (Repository(folder.join("git")), folder.join("sources"));
        let tree = repository.stage_patched().await?;
        fs::create_dir_all(&sources).await?;
        output_of(repository.git(&sources, "sources").args(["read-tree", "--reset", "-u", &tree])).await?;
        build_copy(&sources, &folder.join("target")).await
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

/// A git repository beside the checkout's: it knows which files of a copy have to be written, and needs no history.
struct Repository(PathBuf);

impl Repository {
    /// Git with that work tree and an index of that name.
    fn git(&self, work_tree: &Path, index: &str) -> Command {
        let mut git = Command::new("git");
        git.arg("--git-dir").arg(&self.0).arg("--work-tree").arg(work_tree);
        git.current_dir(work_tree).env("GIT_INDEX_FILE", self.0.join(index));
        git
    }

    /// Stages the checkout's files as they are, patched; returns their tree.
    async fn stage_patched(&self) -> Result<String> {
        let checkout = paths::workspace();
        fs::create_dir_all(&self.0).await?;
        output_of(Command::new("git").args(["--bare", "init", "--quiet"]).env("GIT_DIR", &self.0)).await?;
        let staging = || self.git(&checkout, "patched");
        output_of(staging().args(["add", "--all"])).await?;
        for patch in patches(&checkout)? {
            output_of(staging().args(["apply", "--cached", &patch])).await.with_context(|| {
                format!(
                    "{patch} no longer applies. To write it anew, in a checkout without changes: \
                     `git apply --3way {patch}`, mend the conflicts, `git diff HEAD -- crates services > {patch}`, \
                     `git restore --source=HEAD --staged --worktree crates services`"
                )
            })?;
        }
        output_of(staging().arg("write-tree")).await
    }
}

/// The patches, relative to the checkout.
fn patches(checkout: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(checkout.join(PATCHES))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<Result<_>>()?;
    names.sort();
    Ok(names.into_iter().map(|name| format!("{PATCHES}/{name}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_patches_of_all_mutants_apply_together() -> Result<()> {
        let folder = tempfile::tempdir()?;

        Repository(folder.path().to_owned()).stage_patched().await?;

        Ok(())
    }
}
