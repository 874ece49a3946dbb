//! The right to run: the lock on the data folder and the port of the origin, both asked for before anything starts.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Held while the platform runs.
pub(super) struct Claim {
    listeners: Vec<TcpListener>,
    port: u16,
    _lock: File,
}

impl Claim {
    /// Locks the data folder and binds the port.
    pub(super) fn take(dir: &Path, port: u16) -> Result<Self> {
        let lock = lock(dir)?;
        let mut listeners = vec![bind(Ipv4Addr::LOCALHOST.into(), port)?];
        // Browsers try ::1 for localhost first; a machine without IPv6 does without.
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            listeners.push(bind(Ipv6Addr::LOCALHOST.into(), port)?);
        }
        Ok(Self { listeners, port, _lock: lock })
    }

    /// The origin that browsers see.
    pub(super) fn origin(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// The bound listeners.
    pub(super) fn listeners(&self) -> Result<Vec<TcpListener>> {
        Ok(self.listeners.iter().map(TcpListener::try_clone).collect::<std::io::Result<_>>()?)
    }
}

/// The kernel drops the lock with the process, so that a stale file never stands in the way.
fn lock(dir: &Path) -> Result<File> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let path = dir.join("lock");
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            file.read_to_string(&mut owner)?;
            let owner = owner.trim();
            bail!("the platform already runs from {} as process {owner}; stop that one: kill {owner}", dir.display());
        }
        Err(TryLockError::Error(error)) => bail!("cannot lock {}: {error}", path.display()),
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

fn bind(address: IpAddr, port: u16) -> Result<TcpListener> {
    match TcpListener::bind((address, port)) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!(
                "port {port} is in use; stop the program that listens there, or take another port: make dev PORT=8091"
            )
        }
        Err(error) => bail!("cannot listen on {address} port {port}: {error}"),
    }
}
