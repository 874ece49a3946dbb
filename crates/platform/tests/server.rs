//! The listeners as a client sees them: timeouts, problems for what the framework refuses, readiness, the way to stop.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use axum::{Router, routing::get};
use clap::Parser;
use platform::{
    config::ServiceArgs,
    health::Readiness,
    server::{self, Lifecycle},
};
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
    service: ServiceArgs,
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
        let (public, admin) = (free_address(), free_address());
        let (listen, admin_listen) = (public.to_string(), admin.to_string());
        let options =
            ["test", "--listen-addr", &listen, "--admin-addr", &admin_listen, "--request-timeout-seconds", "1"];
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
