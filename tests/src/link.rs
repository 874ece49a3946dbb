//! TCP between two parts of the platform that can be cut, delayed, slowed or left half-open while it is in use.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::fleet::{Caller, Detour, Peer};
use crate::programs::Program;

const CHUNK: usize = 16 * 1024;

/// What becomes of the bytes on a link.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Condition {
    /// They arrive.
    #[default]
    Open,
    /// They do not: connections break, and new ones break at once.
    Cut,
    /// They arrive so much later.
    Delayed(Duration),
    /// So many arrive in a second.
    Slowed(u32),
    /// Questions arrive, answers do not, and nobody is told; connections that missed something break afterwards.
    HalfOpen,
}

/// One listener in front of one address.
struct Link {
    address: SocketAddr,
    condition: watch::Sender<Condition>,
}

impl Link {
    fn start(runtime: &Handle, upstream: SocketAddr) -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (condition, seen) = watch::channel(Condition::Open);
        let _inside = runtime.enter();
        runtime.spawn(accept(TcpListener::from_std(listener)?, upstream, seen));
        Ok(Self { address, condition })
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, condition: watch::Receiver<Condition>) {
    loop {
        match listener.accept().await {
            // A connection that breaks is what links are for.
            Ok((client, _)) => drop(tokio::spawn(carry(client, upstream, condition.clone()))),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn carry(client: TcpStream, upstream: SocketAddr, mut condition: watch::Receiver<Condition>) -> io::Result<()> {
    if *condition.borrow() == Condition::Cut {
        return Ok(());
    }
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let questions = pump(from_client, to_server, condition.clone(), false);
    let answers = pump(from_server, to_client, condition.clone(), true);
    tokio::select! {
        carried = try_join(questions, answers) => carried.map(drop),
        _ = condition.wait_for(|now| *now == Condition::Cut) => Ok(()),
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut condition: watch::Receiver<Condition>,
    answers: bool,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await?;
        let arrived = Instant::now();
        if read == 0 {
            return to.shutdown().await;
        }
        let now = *condition.borrow_and_update();
        match now {
            Condition::Delayed(delay) => sleep_until(arrived + delay).await,
            Condition::HalfOpen if answers => {
                condition.wait_for(|now| *now != Condition::HalfOpen).await.ok();
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Condition::Open | Condition::Cut | Condition::Slowed(_) | Condition::HalfOpen => {}
        }
        to.write_all(&chunk[..read]).await?;
        if let Condition::Slowed(bytes_per_second) = now {
            let bytes = u32::try_from(read).unwrap_or(u32::MAX);
            sleep(Duration::from_secs_f64(f64::from(bytes) / f64::from(bytes_per_second.max(1)))).await;
        }
    }
}

/// A link between every replica and everything it talks to. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    runtime: Handle,
    links: Arc<Mutex<BTreeMap<(Caller, Peer), Link>>>,
}

impl Links {
    /// None yet; they run on the present runtime.
    pub fn new() -> Self {
        Self { runtime: Handle::current(), links: Arc::default() }
    }

    /// Leads every connection of a platform over a link of its own.
    pub fn detour(&self) -> Detour {
        let links = self.clone();
        Arc::new(move |caller, peer, url| links.lead(caller, peer, &url).expect("a URL of this machine, and a port"))
    }

    fn lead(&self, caller: Caller, peer: Peer, url: &str) -> Result<String> {
        let (_, rest) = url.split_once("://").context("no URL")?;
        let authority = rest.split('/').next().unwrap_or_default();
        let upstream = authority.rsplit('@').next().unwrap_or_default();
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let address = match links.get(&(caller, peer)) {
            Some(link) => link.address,
            None => {
                let link = Link::start(&self.runtime, upstream.parse().with_context(|| upstream.to_owned())?)?;
                let address = link.address;
                links.insert((caller, peer), link);
                address
            }
        };
        Ok(url.replacen(upstream, &address.to_string(), 1))
    }

    /// Who talks to whom.
    pub fn all(&self) -> Vec<(Caller, Peer)> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Changes the condition of the links between all replicas of a program and a peer.
    pub fn set(&self, program: Program, peer: Peer, condition: Condition) {
        self.set_where(condition, |(caller, to)| (caller.0, *to) == (program, peer));
    }

    /// Changes the condition of the link between one replica and a peer.
    pub fn set_one(&self, caller: Caller, peer: Peer, condition: Condition) {
        self.set_where(condition, |link| *link == (caller, peer));
    }

    /// Opens every link.
    pub fn open_all(&self) {
        self.set_where(Condition::Open, |_| true);
    }

    fn set_where(&self, condition: Condition, concerned: impl Fn(&(Caller, Peer)) -> bool) {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, link) in links.iter().filter(|(link, _)| concerned(link)) {
            link.condition.send_replace(condition);
        }
    }
}

impl Default for Links {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: (Program, Peer) = (Program::Booking, Peer::Postgres);
    const CALLER: Caller = (Program::Booking, 1);
    const LIMIT: Duration = Duration::from_secs(5);

    /// Echoes what it is told, and the connection to it over a link.
    async fn linked() -> (Links, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://me:secret@{}/db", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        let links = Links::new();
        let led = links.detour()(CALLER, PEER.1, url.clone());
        assert_ne!(led, url);
        assert_eq!(links.detour()(CALLER, PEER.1, url), led);
        let address = led.split(['@', '/']).nth(3).unwrap().to_owned();
        (links, address)
    }

    async fn echo(stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(b"ping").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"ping");
        Ok(())
    }

    #[tokio::test]
    async fn a_cut_breaks_connections_until_it_is_mended() {
        let (links, address) = linked().await;
        let mut stream = TcpStream::connect(&address).await.unwrap();
        echo(&mut stream).await.unwrap();

        links.set(PEER.0, PEER.1, Condition::Cut);

        let broken = tokio::time::timeout(LIMIT, stream.read(&mut [0; 1])).await.expect("it stays open");
        assert!(broken.is_err() || broken.is_ok_and(|read| read == 0));
        assert!(echo(&mut TcpStream::connect(&address).await.unwrap()).await.is_err());
        links.open_all();
        echo(&mut TcpStream::connect(&address).await.unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn one_replica_is_cut_off_and_not_the_other() {
        let (links, address) = linked().await;
        let mut stream = TcpStream::connect(&address).await.unwrap();

        links.set_one((PEER.0, 0), PEER.1, Condition::Cut);

        echo(&mut stream).await.unwrap();
        links.set_one(CALLER, PEER.1, Condition::Cut);
        assert!(echo(&mut TcpStream::connect(&address).await.unwrap()).await.is_err());
    }

    #[tokio::test]
    async fn a_half_open_link_swallows_answers_and_breaks_afterwards() {
        let (links, address) = linked().await;
        let mut stream = TcpStream::connect(&address).await.unwrap();
        echo(&mut stream).await.unwrap();

        links.set(PEER.0, PEER.1, Condition::HalfOpen);

        assert!(tokio::time::timeout(Duration::from_millis(200), echo(&mut stream)).await.is_err());
        links.open_all();
        let broken = tokio::time::timeout(LIMIT, stream.read(&mut [0; 1])).await.expect("it stays open");
        assert!(broken.is_err() || broken.is_ok_and(|read| read == 0));
    }

    #[tokio::test]
    async fn a_delay_holds_every_byte_back() {
        let (links, address) = linked().await;
        let mut stream = TcpStream::connect(&address).await.unwrap();
        links.set(PEER.0, PEER.1, Condition::Delayed(Duration::from_millis(100)));

        let asked = Instant::now();
        echo(&mut stream).await.unwrap();

        assert!(asked.elapsed() >= Duration::from_millis(200), "{:?}", asked.elapsed());
    }
}
