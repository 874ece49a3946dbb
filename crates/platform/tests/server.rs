//! The listeners as a client sees them: timeouts, problems for what the framework refuses, readiness, the way to stop.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use aide::axum::{ApiRouter, routing as api};
use axum::{
    Router,
    body::{Body, Bytes},
    routing::{get, post},
};
use clap::Parser;
use futures::future::join_all;
use hyper_util::rt::{TokioExecutor, TokioIo};
use platform::{Lifecycle, config::ServerArgs, health::Readiness, server};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    service: ServerArgs,
}

struct Server {
    public: SocketAddr,
    admin: SocketAddr,
    lifecycle: Lifecycle,
    task: JoinHandle<anyhow::Result<()>>,
    client: Client,
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Server {
    async fn start(router: Router, readiness: Readiness) -> Self {
        Self::start_with(&[], router, readiness).await
    }

    async fn start_with(options: &[&str], router: Router, readiness: Readiness) -> Self {
        let (public, admin) = (free_address(), free_address());
        let (listen, admin_listen) = (public.to_string(), admin.to_string());
        let addresses = ["test", "--listen-addr", &listen, "--admin-addr", &admin_listen];
        let deadlines = ["--request-timeout-seconds", "1", "--request-body-timeout-seconds", "3"];
        let options = addresses.iter().chain(&deadlines).chain(options);
        let args = Args::try_parse_from(options).unwrap().service;
        let lifecycle = Lifecycle::new();
        let task = tokio::spawn({
            let lifecycle = lifecycle.clone();
            async move { server::serve(&args, router, readiness, lifecycle).await }
        });
        let server = Self { public, admin, lifecycle, task, client: platform::client::build(Duration::from_secs(30)) };
        while TcpStream::connect(admin).await.is_err() || TcpStream::connect(public).await.is_err() {
            tokio::task::yield_now().await;
        }
        server
    }

    async fn ask(&self, method: Method, address: SocketAddr, path: &str) -> (StatusCode, String, Value) {
        let response = self.client.request(method, format!("http://{address}{path}")).send().await.unwrap();
        let content_type = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned());
        (response.status(), content_type.unwrap_or_default(), response.json().await.unwrap())
    }

    async fn stop(self) {
        self.lifecycle.stop();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_the_framework_refuses_is_a_problem_too() {
    let panics = || async { "no number".parse::<u8>().expect("a handler that panics").to_string() };
    let never = || async { std::future::pending::<&str>().await };
    let router =
        Router::new().route("/here", get(|| async { "{}" })).route("/panic", get(panics)).route("/never", get(never));
    let server = Server::start(router, Readiness::default()).await;

    for (method, path, status, code) in [
        (Method::GET, "/nowhere", StatusCode::NOT_FOUND, "route_not_found"),
        (Method::POST, "/here", StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        (Method::GET, "/panic", StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        (Method::GET, "/never", StatusCode::SERVICE_UNAVAILABLE, "request_timeout"),
    ] {
        let (seen, content_type, problem) = server.ask(method, server.public, path).await;

        assert_eq!((seen, content_type.as_str()), (status, "application/problem+json"), "{path}");
        assert_eq!(problem["code"], code);
        assert!(problem["request_id"].is_string());
    }
    server.stop().await;
}

#[tokio::test]
async fn readiness_names_what_does_not_answer_and_liveness_depends_on_nothing() {
    let readiness = Readiness::default()
        .with("postgres", || async { Err("connection refused".to_owned()) })
        .with("mongodb", || async { Ok(()) });
    let server = Server::start(Router::new(), readiness).await;

    let (ready, _, body) = server.ask(Method::GET, server.admin, "/readyz").await;
    let (live, ..) = server.ask(Method::GET, server.admin, "/livez").await;

    assert_eq!(ready, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["failures"], serde_json::json!(["postgres: connection refused"]));
    assert_eq!(live, StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn a_request_under_way_is_answered_after_the_process_stops_accepting() {
    let (entered, mut has_entered) = tokio::sync::mpsc::channel(1);
    let release = std::sync::Arc::new(tokio::sync::Notify::new());
    let handler = {
        let release = release.clone();
        move || async move {
            entered.send(()).await.ok();
            release.notified().await;
            "{}"
        }
    };
    let server = Server::start(Router::new().route("/slow", get(handler)), Readiness::default()).await;
    let under_way = tokio::spawn(server.client.get(format!("http://{}/slow", server.public)).send());
    has_entered.recv().await.unwrap();

    server.lifecycle.stop();
    while TcpStream::connect(server.public).await.is_ok() {
        tokio::task::yield_now().await;
    }
    release.notify_one();

    assert_eq!(under_way.await.unwrap().unwrap().status(), StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_head_is_cut_off() {
    let server = Server::start(Router::new(), Readiness::default()).await;
    let mut slow = TcpStream::connect(server.public).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();

    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), slow.read_to_end(&mut answer)).await;

    assert!(ended.is_ok(), "the connection was still open after 20 s");
    server.stop().await;
}

/// Everything that a raw connection is answered until it is closed, as head and body.
async fn exchange(address: SocketAddr, sent: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test]
async fn what_is_no_http_is_refused_with_a_problem() {
    let server = Server::start(Router::new().route("/", get(|| async { "" })), Readiness::default()).await;
    let long_uri = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(70_000));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200));
    let large_headers = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(200_000));

    for (sent, status, code) in [
        ("nonsense\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n", 400, "malformed_request"),
        (long_uri.as_str(), 414, "uri_too_long"),
        (many_headers.as_str(), 431, "headers_too_large"),
        (large_headers.as_str(), 431, "headers_too_large"),
    ] {
        let (head, body) = exchange(server.public, sent.as_bytes()).await;

        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        for header in [
            "content-type: application/problem+json",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            &format!("content-length: {}", body.len()),
            "connection: close",
        ] {
            assert!(head.lines().any(|line| line == header), "{header} is not in {head}");
        }
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()));
        assert!(head.contains(problem["request_id"].as_str().unwrap()));
    }
    server.stop().await;
}

#[tokio::test]
async fn unusual_requests_are_answered_like_usual_ones() {
    let take = |body: platform::extract::RawBody| async move { body.0.len().to_string() };
    let router = Router::new().route("/here", get(|| async { "here" }).post(take));
    let server = Server::start(router, Readiness::default()).await;

    for (sent, status) in [
        ("GET /here HTTP/1.0\r\n\r\n", 200),
        ("GET http://other.example/here HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 200),
        ("HEAD /here HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 200),
        ("OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 404),
        ("CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\nconnection: close\r\n\r\n", 404),
        ("GET /here/%00 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 404),
        ("GET /%2e%2e/here HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 404),
        ("OPTIONS /here HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 405),
        ("POST /here HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99999999999999\r\n\r\n", 413),
        ("POST /here HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n", 400),
        ("POST /here HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx", 400),
        ("POST /here HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400),
        ("POST /here HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (
            "POST /here HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx",
            415,
        ),
    ] {
        let (head, body) = exchange(server.public, sent.as_bytes()).await;

        assert_eq!(head.split(' ').nth(1), Some(status.to_string().as_str()), "{sent}: {head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{sent}: {head}");
        if status >= 400 {
            assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["status"], status, "{sent}: {body}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn nonsense_after_a_request_is_refused_after_that_was_answered() {
    let server = Server::start(Router::new().route("/", get(|| async { "here" })), Readiness::default()).await;

    let (_, rest) = exchange(server.public, b"GET / HTTP/1.1\r\nhost: x\r\n\r\nnonsense\r\n\r\n").await;

    let (_, refusal) = rest.strip_prefix("here").unwrap().split_once("\r\n\r\n").unwrap();
    assert_eq!(serde_json::from_str::<Value>(refusal).unwrap()["code"], "malformed_request");
    server.stop().await;
}

/// More than are worked on at once.
const CROWD: usize = 40;

/// A route in an admission group, whose handler takes the body and is done.
fn limited_route() -> Router {
    let route = ApiRouter::new().api_route("/work", api::post(|body: Bytes| async move { body.len().to_string() }));
    server::limited(route).into()
}

async fn works(server: &Server) {
    let asked = server.client.post(format!("http://{}/work", server.public)).body("12345").send();
    let response = tokio::time::timeout(Duration::from_secs(2), asked).await.expect("the others hold it up").unwrap();
    assert_eq!((response.status(), response.text().await.unwrap().as_str()), (StatusCode::OK, "5"));
}

#[tokio::test]
async fn slow_bodies_hold_nobody_up_and_are_answered_408() {
    let server = Server::start(limited_route(), Readiness::default()).await;
    let slow = async || {
        let mut stream = TcpStream::connect(server.public).await.unwrap();
        stream.write_all(b"POST /work HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345").await.unwrap();
        stream
    };
    let mut crowd = join_all((0..CROWD).map(|_| slow())).await;

    works(&server).await;

    for stream in &mut crowd {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains(r#""code":"request_body_timeout""#), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn slow_streams_of_one_http2_connection_hold_nobody_up() {
    let server = Server::start(limited_route(), Readiness::default()).await;
    let stream = TcpStream::connect(server.public).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let never = || Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let crowd = (0..CROWD).map(|_| {
        let mut sender = sender.clone();
        let request = hyper::Request::post(format!("http://{}/work", server.public)).body(never()).unwrap();
        tokio::spawn(async move { sender.send_request(request).await.unwrap().status() })
    });
    let crowd: Vec<_> = crowd.collect();
    tokio::task::yield_now().await;

    works(&server).await;

    for stream in crowd {
        assert_eq!(stream.await.unwrap(), StatusCode::REQUEST_TIMEOUT);
    }
    connection.abort();
    server.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_reaches_the_handler_as_one_and_unread() {
    let take = |body: platform::extract::RawBody| async move { body.0.len().to_string() };
    let server = Server::start(Router::new().route("/take", post(take)), Readiness::default()).await;
    let url = format!("http://{}/take", server.public);
    let chunks = || futures::stream::iter((0..80).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 1024])));

    let announced = server.client.post(&url).body(vec![b'x'; 70_000]).send().await.unwrap();
    let chunked = server.client.post(&url).body(reqwest::Body::wrap_stream(chunks())).send().await.unwrap();
    let fits = server.client.post(&url).body(vec![b'x'; 65_536]).send().await.unwrap();

    assert_eq!(announced.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(chunked.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(fits.text().await.unwrap(), "65536");
    server.stop().await;
}

#[tokio::test]
async fn silent_connections_lock_nobody_out_of_either_listener() {
    let router = Router::new().route("/", get(|| async { "here" }));
    let server = Server::start_with(&["--max-connections", "8"], router, Readiness::default()).await;
    let silent = join_all((0..100).map(|_| TcpStream::connect(server.public))).await;
    let at_the_admin_port = join_all((0..100).map(|_| TcpStream::connect(server.admin))).await;

    for (address, path) in [(server.public, "/"), (server.admin, "/livez")] {
        let asked = server.client.get(format!("http://{address}{path}")).send();
        let response = tokio::time::timeout(Duration::from_secs(2), asked).await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }

    drop((silent, at_the_admin_port));
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_never_asks_is_closed() {
    let server = Server::start(Router::new(), Readiness::default()).await;
    let http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    let ends = [b"".as_slice(), b"PRI * HT", http2].map(|sent| async move {
        let mut stream = TcpStream::connect(server.public).await.unwrap();
        stream.write_all(sent).await.unwrap();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut Vec::new())).await
    });

    assert!(join_all(ends).await.into_iter().all(|end| end.is_ok()), "one was still open after 20 s");
    server.stop().await;
}

#[tokio::test]
async fn methods_that_somebody_made_up_are_one_label() {
    // Recording begins here.
    platform::telemetry::metrics_handle();
    let server = Server::start(Router::new().route("/here", get(|| async { "" })), Readiness::default()).await;
    for n in 0..20 {
        let method = Method::from_bytes(format!("MADEUP{n}").as_bytes()).unwrap();
        let (status, ..) = server.ask(method, server.public, "/here").await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    }

    let metrics = server.client.get(format!("http://{}/metrics", server.admin)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();

    assert!(metrics.contains(r#"method="other",route="/here",status="405""#), "{metrics}");
    assert!(!metrics.contains("MADEUP"));
    server.stop().await;
}

#[tokio::test]
async fn every_answer_carries_the_default_headers() {
    let cached = || async { ([("cache-control", "max-age=60")], "") };
    let router = Router::new().route("/here", get(|| async { "" })).route("/cached", get(cached));
    let server = Server::start_with(&["--public-url", "https://example.org"], router, Readiness::default()).await;

    for (address, path, caching) in [
        (server.public, "/here", "no-store"),
        (server.public, "/cached", "max-age=60"),
        (server.public, "/nowhere", "no-store"),
        (server.admin, "/livez", "no-store"),
        (server.admin, "/metrics", "no-store"),
    ] {
        let answer = server.client.get(format!("http://{address}{path}")).send().await.unwrap();
        let headers = answer.headers();
        assert_eq!(headers["cache-control"], caching, "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["strict-transport-security"], "max-age=31536000", "{path}");
    }
    let (head, _) = exchange(server.public, b"nonsense\r\n\r\n").await;
    assert!(head.contains("strict-transport-security: max-age=31536000"), "{head}");
    server.stop().await;
}

#[tokio::test]
async fn what_requests_rely_on_goes_on_until_the_last_of_them_is_answered() {
    let (entered, mut has_entered) = tokio::sync::mpsc::channel(1);
    let release = std::sync::Arc::new(tokio::sync::Notify::new());
    let handler = {
        let release = release.clone();
        move || async move {
            entered.send(()).await.ok();
            release.notified().await;
            "{}"
        }
    };
    let server = Server::start(Router::new().route("/slow", get(handler)), Readiness::default()).await;
    let presence = server.lifecycle.drained();
    let (ended, mut has_ended) = tokio::sync::mpsc::channel::<()>(1);
    server.lifecycle.spawn_until_drained(async move {
        presence.cancelled().await;
        drop(ended);
    });
    let under_way = tokio::spawn(server.client.get(format!("http://{}/slow", server.public)).send());
    has_entered.recv().await.unwrap();

    server.lifecycle.stop();
    while TcpStream::connect(server.public).await.is_ok() {
        tokio::task::yield_now().await;
    }

    assert!(!server.lifecycle.drained().is_cancelled(), "a request is under way");
    release.notify_one();
    assert_eq!(under_way.await.unwrap().unwrap().status(), StatusCode::OK);
    server.stop().await;
    assert_eq!(has_ended.recv().await, None);
}
