//! Accepts connections up to a limit, and closes those that make no progress or whose place is needed.
//!
//! `axum::serve` limits neither the number of connections nor how long they stay silent, hence this loop.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, response::Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    activity::{Activity, IDLE_TIMEOUT, ResponseBody},
    headers::DefaultHeaders,
    socket::Socket,
};
use crate::{config::ServerArgs, extract::ClientAddr};

/// The most requests at once on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 64;
/// How often HTTP/2 clients are pinged, and how long they may take to answer.
const HTTP2_PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// The largest head of an HTTP/1 request. Over 64 KiB, so that a URI longer than that is answered 414.
const MAX_HEAD_BYTES: usize = 96 * 1024;

/// A listener and the settings of its connections.
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    /// Its label in metrics: `public` or `admin`.
    pub(super) name: &'static str,
    pub(super) router: Router,
    pub(super) max_connections: usize,
    pub(super) args: ServerArgs,
}

impl Listener {
    /// Accepts until `stop`, then lets open requests finish, for the drain time at most.
    pub(super) async fn run(self, stop: CancellationToken) {
        let open = Connections::new(self.name, self.max_connections);
        let graceful = GracefulShutdown::new();
        let builder = builder();
        loop {
            let accepted =
                tokio::select! { () = stop.cancelled() => break, accepted = self.socket.accept() => accepted };
            match accepted {
                Ok((stream, peer)) => {
                    if let Some(slot) = open.admit(peer.ip()) {
                        self.connect(&builder, &graceful, stream, peer, slot);
                    }
                }
                Err(error) => {
                    // Mostly because file descriptors ran out: some become free while we wait.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.socket);
        if tokio::time::timeout(Duration::from_secs(self.args.drain_seconds), graceful.shutdown()).await.is_err() {
            tracing::warn!("connections were still open at the end of the drain time");
        }
    }

    fn connect(
        &self,
        builder: &auto::Builder<TokioExecutor>,
        graceful: &GracefulShutdown,
        stream: TcpStream,
        peer: SocketAddr,
        slot: Slot,
    ) {
        stream.set_nodelay(true).ok();
        let (activity, hops, router) = (slot.activity.clone(), self.args.trusted_hops(), self.router.clone());
        let socket = Socket::new(stream, activity.clone(), DefaultHeaders::new(&self.args));
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let client = ClientAddr::resolve(peer, request.headers(), hops);
            respond(router.clone(), request, client, activity.clone())
        });
        let connection = builder.serve_connection(TokioIo::new(socket), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(error, "connection ended");
                },
                () = slot.activity.overdue() => tracing::debug!("connection closed: the client took too long"),
                () = slot.evicted.cancelled() => tracing::debug!("connection closed: others need its slot"),
            }
        });
    }
}

fn respond(
    router: Router,
    mut request: hyper::Request<Incoming>,
    client: ClientAddr,
    activity: Activity,
) -> impl Future<Output = Result<hyper::Response<ResponseBody>, Infallible>> {
    let request_guard = activity.request(request.version() == hyper::Version::HTTP_2);
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(activity);
    async move {
        let response: Response = router.oneshot(request).await?;
        Ok(response.map(|body| request_guard.respond(body)))
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // `Activity` enforces the time for a head, also before hyper knows the protocol of a connection.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    let (interval, timeout) = HTTP2_PING;
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .keep_alive_interval(interval)
        .keep_alive_timeout(timeout);
    builder
}

/// The open connections of one listener. Cheap to clone.
///
/// At the limit, a new connection replaces one that only waits for its client: of the address with the most
/// connections, the one that has waited longest. So silent clients cannot lock anybody out. Behind a proxy, where all
/// connections come from one address, those that have waited longest are closed first. If every connection has a
/// request that is worked on, the new one is closed at once.
#[derive(Clone)]
struct Connections {
    inner: Arc<Mutex<Table>>,
    name: &'static str,
    max: usize,
}

#[derive(Default)]
struct Table {
    open: HashMap<u64, Entry>,
    next_id: u64,
}

struct Entry {
    network: IpAddr,
    activity: Activity,
    evicted: CancellationToken,
}

/// A connection's slot; dropping it frees the slot.
struct Slot {
    id: u64,
    activity: Activity,
    evicted: CancellationToken,
    connections: Connections,
}

impl Connections {
    fn new(name: &'static str, max: usize) -> Self {
        Self { inner: Arc::default(), name, max }
    }

    fn admit(&self, address: IpAddr) -> Option<Slot> {
        let mut table = self.lock();
        if table.open.len() >= self.max {
            let outcome = if table.evict() { "evicted" } else { "refused" };
            metrics::counter!("eventplatform_connections_shed_total", "listener" => self.name, "outcome" => outcome)
                .increment(1);
            if outcome == "refused" {
                return None;
            }
        }
        let id = table.next_id;
        table.next_id += 1;
        let (activity, evicted) = (Activity::new(), CancellationToken::new());
        let entry = Entry { network: network(address), activity: activity.clone(), evicted: evicted.clone() };
        table.open.insert(id, entry);
        self.report(&table);
        drop(table);
        Some(Slot { id, activity, evicted, connections: self.clone() })
    }

    fn report(&self, table: &Table) {
        let open = u32::try_from(table.open.len()).unwrap_or(u32::MAX);
        metrics::gauge!("eventplatform_connections", "listener" => self.name).set(open);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Evicts a connection, if one only waits for its client.
    fn evict(&mut self) -> bool {
        let mut of_network = HashMap::<IpAddr, usize>::new();
        for entry in self.open.values() {
            *of_network.entry(entry.network).or_default() += 1;
        }
        let waiting = self.open.iter().filter_map(|(id, entry)| Some((id, entry, entry.activity.waiting_since()?)));
        let first = waiting.max_by_key(|(_, entry, since)| (of_network[&entry.network], since.elapsed()));
        let Some(id) = first.map(|(id, ..)| *id) else { return false };
        if let Some(entry) = self.open.remove(&id) {
            entry.evicted.cancel();
        }
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        table.open.remove(&self.id);
        self.connections.report(&table);
    }
}

/// What counts as one address: for IPv6, the network that a household gets.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTACKER: &str = "192.0.2.1";
    const USER: &str = "198.51.100.1";

    async fn admit(connections: &Connections, address: &str) -> Option<Slot> {
        tokio::time::advance(Duration::from_millis(1)).await;
        connections.admit(address.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_gets_the_place_of_the_one_that_waited_longest() {
        let connections = Connections::new("test", 2);
        let first = admit(&connections, ATTACKER).await.unwrap();
        let second = admit(&connections, ATTACKER).await.unwrap();

        let third = admit(&connections, ATTACKER).await.unwrap();

        assert!(first.evicted.is_cancelled());
        assert!(!second.evicted.is_cancelled() && !third.evicted.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn the_address_with_the_most_connections_gives_up_its_own() {
        let connections = Connections::new("test", 3);
        let user = admit(&connections, USER).await.unwrap();
        let silent = [admit(&connections, ATTACKER).await.unwrap(), admit(&connections, ATTACKER).await.unwrap()];

        let next = admit(&connections, ATTACKER).await;

        assert!(next.is_some());
        assert!(silent[0].evicted.is_cancelled());
        assert!(!user.evicted.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_a_request_under_way_keeps_its_place() {
        let connections = Connections::new("test", 1);
        let busy = admit(&connections, USER).await.unwrap();
        let request = busy.activity.request(false);
        assert!(admit(&connections, ATTACKER).await.is_none());

        let _upload = busy.activity.upload();

        assert!(admit(&connections, USER).await.is_some(), "its body is not here yet: only the client is waited for");
        assert!(busy.evicted.is_cancelled());
        drop(request);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_free_again_once_its_connection_is_gone() {
        let connections = Connections::new("test", 1);
        let first = admit(&connections, USER).await.unwrap();
        drop(first);

        let _second = admit(&connections, USER).await.unwrap();

        assert_eq!(connections.lock().open.len(), 1);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let of = |address: &str| network(address.parse().unwrap());

        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:5::6"));
        assert_ne!(of("2001:db8:1:2::"), of("2001:db8:1:3::"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
