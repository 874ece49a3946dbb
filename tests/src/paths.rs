//! Where files go: the checkout, the cache folder, the folder of built programs, and PATH lookups.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the checkout: the folder with the lock file, at or above the working folder; else where this was built.
///
/// Several checkouts may share what cargo builds, and cargo does not build anew for one that lies elsewhere.
pub fn workspace() -> PathBuf {
    let working = env::current_dir().unwrap_or_default();
    let above = working.ancestors().find(|folder| folder.join("Cargo.lock").is_file());
    above.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), Path::to_owned)
}

/// `${XDG_CACHE_HOME:-~/.cache}/eventplatform`: everything that is kept between runs.
pub fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => env::home_dir().context("neither XDG_CACHE_HOME nor HOME is set")?.join(".cache"),
    };
    Ok(base.join("eventplatform"))
}

/// Where cargo puts what it builds: `CARGO_TARGET_DIR`, or `target` in the cache folder.
pub fn cargo_target() -> Result<PathBuf> {
    match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => Ok(PathBuf::from(dir)),
        None => Ok(cache()?.join("target")),
    }
}

/// The first file of that name in a folder of PATH.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}
