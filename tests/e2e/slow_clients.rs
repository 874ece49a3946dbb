//! Slow and silent clients of every program, while a user logs in, books a seat and pays.
//!
//! `SLOW_CLIENTS=10 SLOW_CLIENTS_ROUNDS=50 stack test -- -p eventplatform-tests --test e2e slow_clients -- --nocapture` prints
//! the figures of `docs/reliability.md`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode as Status};
use eventplatform_tests::api;
use eventplatform_tests::people::{NewEvent, PASSWORD, Person};
use eventplatform_tests::programs::Program;
use futures::future::join_all;
use futures::stream;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use reqwest::StatusCode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::platform;

/// Where bodies are awaited, of every program that has routes for them.
const TARGETS: [(Program, &str); 6] = [
    (Program::User, "/users/logout"),
    (Program::Event, "/api/events"),
    (Program::Booking, "/bookings"),
    (Program::Booking, "/payments/webhooks/mock"),
    (Program::Notification, "/notifications/1/read-all"),
    (Program::MockGateway, "/v1/payment_intents"),
];
/// Of each target, times `SLOW_CLIENTS`: more bodies than are worked on at once, and connections that say nothing.
const SLOW_BODIES: usize = 40;
const SILENT: usize = 60;
/// Streams of one HTTP/2 connection, each with a body that does not come.
const STREAMS: usize = 60;

#[derive(Default)]
struct Seen {
    over: AtomicBool,
    timed_out: AtomicUsize,
    cut_off: AtomicUsize,
    other: AtomicUsize,
}

impl Seen {
    fn answered(&self, status: Option<u16>) {
        let counter = match status {
            Some(408) => &self.timed_out,
            None => &self.cut_off,
            Some(_) => &self.other,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// As many descriptors as this process may have.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// Sends half a body over and over, and reads what the server makes of it.
async fn send_slowly(address: SocketAddr, path: &str, seen: Arc<Seen>) {
    while !seen.over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address).await else { return seen.answered(Some(0)) };
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{{\"half");
        let mut answer = Vec::new();
        if stream.write_all(head.as_bytes()).await.is_ok() {
            stream.read_to_end(&mut answer).await.ok();
        }
        let answer = String::from_utf8_lossy(&answer);
        seen.answered(answer.split(' ').nth(1).and_then(|status| status.parse().ok()));
    }
}

async fn stay_silent(address: SocketAddr, seen: Arc<Seen>) {
    while !seen.over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address).await else { return seen.answered(Some(0)) };
        stream.read_to_end(&mut Vec::new()).await.ok();
    }
}

async fn stream_slowly(address: SocketAddr, path: &str, client: Client<HttpConnector, Body>, seen: Arc<Seen>) {
    while !seen.over.load(Ordering::Relaxed) {
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let request = Request::post(format!("http://{address}{path}")).body(never).unwrap();
        seen.answered(client.request(request).await.ok().map(|answer| answer.status().as_u16()));
    }
}

async fn attack(times: usize, seen: &Arc<Seen>) -> Vec<JoinHandle<()>> {
    let mut clients = Vec::new();
    for (program, path) in TARGETS {
        let address = platform().await.program(program).address;
        for _ in 0..SLOW_BODIES * times {
            clients.push(tokio::spawn(send_slowly(address, path, seen.clone())));
        }
        for _ in 0..SILENT * times {
            clients.push(tokio::spawn(stay_silent(address, seen.clone())));
        }
        let http2 = Client::builder(TokioExecutor::new()).http2_only(true).build(HttpConnector::new());
        for _ in 0..STREAMS {
            clients.push(tokio::spawn(stream_slowly(address, path, http2.clone(), seen.clone())));
        }
    }
    clients
}

/// Logs in, books a seat and pays for it, so many times; how long each time took.
async fn journeys(email: &str, event_id: &str, rounds: usize) -> Vec<Duration> {
    let visitor = platform().await.visitor();
    let mut took = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        let person = Person::log_in(&visitor, email, PASSWORD).await.unwrap();
        let booking = person.books(event_id, 1).await.unwrap();
        let paid = person.pays(&booking, eventplatform_tests::people::GOOD_CARD).await.unwrap();
        paid.expect(StatusCode::CREATED).unwrap();
        took.push(began.elapsed());
    }
    took.sort();
    took
}

async fn everything_is_ready() {
    let http = api::http_client();
    let asked = TARGETS.map(async |(program, _)| {
        let admin = platform().await.program(program).admin;
        let answer = http.get(format!("http://{admin}/readyz")).send().await.unwrap();
        assert_eq!(answer.status(), Status::OK, "{}", program.name());
    });
    join_all(asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_silent_clients_are_not_noticed_by_somebody_who_books_and_pays() {
    raise_descriptors();
    let (times, rounds) = (setting("SLOW_CLIENTS", 1), setting("SLOW_CLIENTS_ROUNDS", 4));
    let capacity = u32::try_from(2 * rounds + 1).unwrap();
    let organizer = platform().await.organizer().await.unwrap();
    let event_id = organizer.creates(NewEvent::priced(capacity, 2500)).await.unwrap();
    let email = platform().await.attendee().await.unwrap().email;
    let calm = journeys(&email, &event_id, rounds).await;

    let seen = Arc::new(Seen::default());
    let clients = attack(times, &seen).await;
    let beside = journeys(&email, &event_id, rounds).await;
    everything_is_ready().await;
    // The first of the slow ones have had their time then.
    while seen.timed_out.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    seen.over.store(true, Ordering::Relaxed);
    let silent_and_slow = clients.len();
    for client in clients {
        client.await.unwrap();
    }
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "{silent_and_slow} slow and silent clients: {} answers of 408, {} cut off, {} others; log in, book and pay: \
         median {:?} (calm {:?}), longest {:?} (calm {:?})",
        count(&seen.timed_out),
        count(&seen.cut_off),
        count(&seen.other),
        beside[rounds / 2],
        calm[rounds / 2],
        beside[rounds - 1],
        calm[rounds - 1],
    );
    assert_eq!(count(&seen.other), 0, "slow clients are answered 408, or cut off");
}
