//! The program itself: commands, listeners, shutdown.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use axum::{Json, Router, body::Body, http::Response, routing::get};
use contracts::{identity::Role, message::Message};
use platform::Clock;
use serde_json::{Value, json};
use testing::identity::{access_token, jwks};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStderr, Command},
    time::timeout,
};
use uuid::Uuid;

use crate::{
    consumer::Broker,
    helpers::{Options, Stream, booking, server, wait_until},
};

const LATER: Duration = Duration::from_secs(20);

struct Program {
    child: Child,
    logs: Lines<BufReader<ChildStderr>>,
    public: String,
    admin: String,
}

impl Program {
    async fn start(database: &str, jwks_url: &str) -> Self {
        let mut child = command(database)
            .env("JWKS_URL", jwks_url)
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env("ADMIN_ADDR", "127.0.0.1:0")
            .env("SHUTDOWN_DELAY_SECONDS", "1")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut logs = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = loop {
            let line: Value = serde_json::from_str(&logs.next_line().await.unwrap().unwrap()).unwrap();
            if line["message"] == "listening" {
                break line;
            }
        };
        let address = |name: &str| format!("http://{}", listening[name].as_str().unwrap());
        Self { child, logs, public: address("address"), admin: address("admin") }
    }

    fn terminate(&self) {
        let id = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }
}

fn command(database: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_notification-service"));
    command
        .env("MONGODB_URL", server("TEST_MONGODB_URL"))
        .env("MONGODB_DATABASE", database)
        .env("AMQP_URL", server("TEST_AMQP_URL"))
        .env("LOG_FORMAT", "json");
    command
}

/// Serves the keys of user-service.
async fn serve_jwks() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/.well-known/jwks.json", listener.local_addr().unwrap());
    let router = Router::new().route("/.well-known/jwks.json", get(async || Json(jwks())));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(
                hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new())
                    .serve_connection(stream, service)
                    .into_owned(),
            );
        }
    });
    url
}

async fn open_stream(program: &Program, token: &str) -> Stream {
    let client = platform::client::build(Duration::from_secs(60));
    let request = client.get(format!("{}/notifications/1/stream", program.public)).bearer_auth(token);
    let response: Response<reqwest::Body> = request.send().await.unwrap().into();
    Stream::of(response.map(Body::new))
}

#[tokio::test]
async fn the_program_migrates_streams_notifications_and_ends_streams_on_sigterm() {
    let broker = Broker::lock().await;
    let database = Options::default().database;
    let migrated = command(&database).arg("migrate").stderr(Stdio::null()).status().await.unwrap();
    assert!(migrated.success());
    let mut program = Program::start(&database, &serve_jwks().await).await;
    let client = platform::client::build(LATER);
    let ready = client.get(format!("{}/readyz", program.admin)).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    let token = access_token(Clock::system().now(), 1, Role::Attendee);
    let mut stream = open_stream(&program, &token).await;
    stream.next_named("ready", LATER).await;

    broker.publishes(Uuid::new_v4(), Message::BookingConfirmed(booking(1, 17))).await;
    let notification = stream.next_named("notification", LATER).await;
    program.terminate();
    wait_until("the program is unready", async || {
        client.get(format!("{}/readyz", program.admin)).send().await.unwrap().status() == 503
    })
    .await;
    let end = stream.next_named("end", LATER).await;

    assert_eq!(notification.data["booking_id"], 17);
    assert_eq!(end.data, json!({ "reason": "closed" }));
    assert!(stream.next().await.is_none());
    assert!(timeout(LATER, program.child.wait()).await.unwrap().unwrap().success());
    while program.logs.next_line().await.unwrap().is_some() {}
}

#[tokio::test]
async fn the_program_refuses_missing_and_default_secrets() {
    for (name, value) in [("AMQP_URL", ""), ("AMQP_URL", "amqp://guest:guest@rabbitmq/%2f"), ("MONGODB_URL", "")] {
        let mut starting = command("unused");
        if value.is_empty() {
            starting.env_remove(name)
        } else {
            starting.env(name, value)
        };

        let output = starting.output().await.unwrap();

        assert!(!output.status.success());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(name) && !stderr.contains("guest:guest"), "{stderr}");
    }
}

#[tokio::test]
async fn the_program_starts_while_its_servers_are_down() {
    let mut starting = command("unused");
    starting
        .env("MONGODB_URL", "mongodb://127.0.0.1:1/?directConnection=true")
        .env("AMQP_URL", "amqp://127.0.0.1:1")
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let began = Instant::now();
    let mut child = starting.spawn().unwrap();
    let mut logs = BufReader::new(child.stderr.take().unwrap()).lines();

    let admin = loop {
        let line: Value = serde_json::from_str(&logs.next_line().await.unwrap().unwrap()).unwrap();
        if let Some(admin) = line["admin"].as_str() {
            break format!("http://{admin}");
        }
    };

    assert!(began.elapsed() < LATER);
    let client = platform::client::build(LATER);
    assert_eq!(client.get(format!("{admin}/livez")).send().await.unwrap().status(), 200);
    let ready = client.get(format!("{admin}/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("mongodb"));
}
