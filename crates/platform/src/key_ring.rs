//! Signing keys in a folder, one file `<kid>.pem` each, rotated without a restart.
//!
//! To rotate, add `<new kid>.pem` with a name that sorts after that of the current key. The new key is published within
//! 10 s and signs two minutes later, when every verifier and every replica has seen it. The old file stays for as long as
//! what it signed has to be accepted.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use anyhow::{Context, anyhow, ensure};
use chrono::{DateTime, TimeDelta, Utc};

use crate::Clock;

/// How often a folder is read again.
pub const RELOAD_EVERY: Duration = Duration::from_secs(10);
/// How long a key is published before it signs.
const PUBLISHED_BEFORE_SIGNING: TimeDelta = TimeDelta::seconds(120);

/// The keys of a folder. Cheap to clone; all clones share one state.
#[derive(Clone)]
pub struct KeyRing<K> {
    folder: Arc<Folder<K>>,
    clock: Clock,
    keys: Arc<RwLock<Keys<K>>>,
}

/// Where the keys are, and what they are.
struct Folder<K> {
    /// The setting that names it, for messages.
    setting: &'static str,
    path: PathBuf,
    /// Makes a key of its name and PEM.
    parse: fn(&str, &str) -> anyhow::Result<K>,
}

type Keys<K> = BTreeMap<String, Published<K>>;

struct Published<K> {
    key: K,
    /// When this process began to publish it.
    since: DateTime<Utc>,
}

impl<K: Clone + PartialEq> KeyRing<K> {
    /// Reads the keys `<kid>.pem` in `path`, which `setting` names. `parse` makes a key of its name and PEM; its error
    /// follows the file's name, as in "holds no Ed25519 key". Fails if there is no key, or if one cannot be parsed.
    pub fn from_dir(
        setting: &'static str,
        path: &Path,
        clock: Clock,
        parse: fn(&str, &str) -> anyhow::Result<K>,
    ) -> anyhow::Result<Self> {
        let folder = Folder { setting, path: path.to_owned(), parse };
        let keys = folder.read(clock.now())?;
        Ok(Self { folder: Arc::new(folder), clock, keys: Arc::new(RwLock::new(keys)) })
    }

    /// Reads the folder again; returns whether a key changed. If that fails, the current keys stay.
    pub fn reload(&self) -> anyhow::Result<bool> {
        let setting = self.folder.setting;
        let unread = || format!("{setting}: cannot read the keys again; the current ones stay in use");
        let mut found = self.folder.read(self.clock.now()).with_context(unread)?;
        let mut current = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let mut same = found.len() == current.len();
        for (kid, published) in &mut found {
            match current.get(kid).filter(|known| known.key == published.key) {
                Some(known) => published.since = known.since,
                None => same = false,
            }
        }
        if !same {
            tracing::info!(setting, kids = ?found.keys().collect::<Vec<_>>(), "keys changed");
        }
        *current = found;
        Ok(!same)
    }

    /// All keys, by name.
    pub fn published(&self) -> Vec<(String, K)> {
        self.read().iter().map(|(kid, published)| (kid.clone(), published.key.clone())).collect()
    }

    /// The key of that name.
    pub fn get(&self, kid: &str) -> Option<K> {
        self.read().get(kid).map(|published| published.key.clone())
    }

    /// The key that signs now, with its name: the last by name among those published long enough. Right after a start
    /// there is none; then the key published first, and among equals the first by name, which is the older one during a
    /// rotation.
    pub fn signer(&self) -> (String, K) {
        let (keys, now) = (self.read(), self.clock.now());
        let eligible = keys.iter().rfind(|(_, published)| now - published.since >= PUBLISHED_BEFORE_SIGNING);
        let oldest = || keys.iter().min_by_key(|(_, published)| published.since);
        let (kid, published) = eligible.or_else(oldest).expect("a folder without a key is refused");
        (kid.clone(), published.key.clone())
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys<K>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Folder<K> {
    fn read(&self, now: DateTime<Utc>) -> anyhow::Result<Keys<K>> {
        let Self { setting, path, parse } = self;
        let context = || format!("{setting}: cannot read {}", path.display());
        let mut keys = Keys::new();
        for entry in std::fs::read_dir(path).with_context(context)? {
            let file = entry.with_context(context)?.path();
            if file.extension().is_none_or(|extension| extension != "pem") {
                continue;
            }
            let kid = file.file_stem().and_then(|stem| stem.to_str()).with_context(context)?;
            let pem = std::fs::read_to_string(&file).with_context(context)?;
            let key = parse(kid, &pem).map_err(|error| anyhow!("{setting}: {} {error:#}", file.display()))?;
            keys.insert(kid.to_owned(), Published { key, since: now });
        }
        ensure!(!keys.is_empty(), "{setting}: no <kid>.pem in {}", path.display());
        Ok(keys)
    }
}
