//! A service for one test, and requests to it.

use std::{fs, net::IpAddr, path::Path, sync::OnceLock, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, spki::der::pem::LineEnding},
};
use http_body_util::BodyExt;
use platform::{Clock, config::ServerArgs, extract::ClientAddr, server::with_defaults};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tempfile::TempDir;
use tower::ServiceExt;
use user_service::{app::App, config::Config, loops::first_admin::FirstAdmin, state::AppState};

pub(crate) const PASSWORD: &str = "correct horse battery";
const ORIGIN: &str = "http://localhost:8080";

/// The service on a database of its own, with a clock that stands still.
pub(crate) struct TestApp {
    pub(crate) state: AppState,
    pub(crate) folder: TempDir,
    clock: Clock,
    router: Router,
    arguments: Vec<String>,
    _database: Database,
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A service with other settings, as on the command line.
    pub(crate) async fn with(settings: &[&str]) -> Self {
        let database = Database::migrated().await;
        let folder = TempDir::new().unwrap();
        write_key(folder.path(), "2026-01");
        fs::write(folder.path().join("refresh.key"), [7; 32]).unwrap();
        let mut arguments: Vec<String> = vec!["user-service".into()];
        let own = [
            ("--database-url", database.url.clone()),
            // Nobody listens there: no test needs the messages to leave the outbox.
            ("--amqp-url", "amqp://127.0.0.1:1".to_owned()),
            ("--signing-keys-dir", folder.path().display().to_string()),
            ("--refresh-token-key-file", folder.path().join("refresh.key").display().to_string()),
        ];
        arguments.extend(own.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        arguments.extend(settings.iter().map(ToString::to_string));
        if !settings.contains(&"--event-service-url") {
            arguments.extend(["--event-service-url".into(), "http://127.0.0.1:1".into()]);
        }
        let clock = Clock::fixed(now());
        let (state, router) = build(&arguments, &clock);
        Self { state, folder, clock, router, arguments, _database: database }
    }

    /// Another replica on the same database and keys.
    pub(crate) fn replica(&self) -> Router {
        build(&self.arguments, &self.clock).1
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.state.store.pool()
    }

    /// Lets time pass: for the clock, and for everything that is stored.
    pub(crate) async fn later(&self, time: Duration) {
        self.clock.advance(TimeDelta::from_std(time).unwrap());
        let shifts = [
            "update sessions set created_at = created_at - $1, expires_at = expires_at - $1, revoked_at = revoked_at - $1",
            "update refresh_tokens set created_at = created_at - $1, rotated_at = rotated_at - $1",
            "update password_resets set expires_at = expires_at - $1, used_at = used_at - $1",
            "update rate_limits set window_ends_at = window_ends_at - $1",
            "update known_clients set last_seen_at = last_seen_at - $1",
            "update users set role_changed_at = role_changed_at - $1",
        ];
        for shift in shifts {
            sqlx::query(shift).bind(time).execute(self.pool()).await.unwrap();
        }
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        Call::new(self.router.clone(), Method::GET, path)
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers read better with json!(…) as it is")]
    pub(crate) fn post(&self, path: &str, body: Value) -> Call {
        Call::new(self.router.clone(), Method::POST, path).json(&body)
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers read better with json!(…) as it is")]
    pub(crate) fn patch(&self, path: &str, body: Value) -> Call {
        Call::new(self.router.clone(), Method::PATCH, path).json(&body)
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        Call::new(self.router.clone(), method, path)
    }

    /// Registers `name` as `name@example.org`; says the id.
    pub(crate) async fn registers(&self, name: &str) -> i32 {
        let answer = self.post("/users/register", registration(name)).send().await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        i32::try_from(answer.body["id"].as_i64().unwrap()).unwrap()
    }

    pub(crate) async fn logs_in(&self, name: &str) -> Session {
        let answer = self.tries(name, PASSWORD).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        Session::of(&answer)
    }

    /// A login with any password.
    pub(crate) async fn tries(&self, name: &str, password: &str) -> Answer {
        let body = json!({ "email": format!("{name}@example.org"), "password": password });
        self.post("/users/login", body).send().await
    }

    pub(crate) async fn refreshes(&self, refresh_token: &str) -> Answer {
        self.post("/users/token/refresh", json!({ "refresh_token": refresh_token })).send().await
    }

    /// A registered and logged-in user.
    pub(crate) async fn user(&self, name: &str) -> Session {
        self.registers(name).await;
        self.logs_in(name).await
    }

    /// A logged-in admin, made as at start.
    pub(crate) async fn admin(&self) -> Session {
        let admin = FirstAdmin::parse("root@example.org", PASSWORD).unwrap();
        admin.create(&self.state).await.unwrap();
        self.logs_in("root").await
    }

    /// Logs in by cookies; gives the Cookie header that a browser would send from now on.
    pub(crate) async fn logs_in_by_cookie(&self, name: &str) -> String {
        let email = format!("{name}@example.org");
        let body = json!({ "email": email, "password": PASSWORD, "session": "cookie" });
        let answer = self.post("/users/login", body).send().await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.cookies()
    }
}

fn build(arguments: &[String], clock: &Clock) -> (AppState, Router) {
    let config = Config::try_parse_from(arguments).unwrap();
    let app = App::build(&config, clock.clone()).unwrap();
    (app.state().clone(), with_defaults(app.router(), &service_args()))
}

fn service_args() -> ServerArgs {
    let arguments = ["user-service", "--request-timeout-seconds", "30"];
    Config::try_parse_from(arguments).unwrap().server
}

/// A whole second, some time ago: what is stored goes by the database's clock, and must not depend on this one.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).unwrap()
}

pub(crate) fn registration(name: &str) -> Value {
    json!({ "email": format!("{name}@example.org"), "password": PASSWORD, "name": name })
}

/// Puts a new signing key into a folder.
pub(crate) fn write_key(folder: &Path, kid: &str) {
    let key = SigningKey::from_bytes(&rand::random());
    let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap();
    fs::write(folder.join(format!("{kid}.pem")), pem.as_bytes()).unwrap();
}

/// The tokens of a session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Session {
    pub(crate) fn of(answer: &Answer) -> Self {
        let text = |field: &str| answer.body[field].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

/// A request in the making.
pub(crate) struct Call {
    router: Router,
    request: Request<Body>,
}

impl Call {
    pub(crate) fn new(router: Router, method: Method, path: &str) -> Self {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost:8080");
        Self { router, request: request.body(Body::empty()).unwrap() }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().insert(name, value.parse().unwrap());
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body(body.to_string())
    }

    pub(crate) fn body(self, body: impl Into<Body>) -> Self {
        let mut call = self.header("content-type", "application/json");
        *call.request.body_mut() = body.into();
        call
    }

    pub(crate) fn bearer(self, session: &Session) -> Self {
        self.header("authorization", &format!("Bearer {}", session.access))
    }

    /// Sends cookies from a page of the platform, as a browser does.
    pub(crate) fn cookies(self, cookies: &str) -> Self {
        self.header("cookie", cookies).header("origin", ORIGIN)
    }

    pub(crate) fn from(mut self, address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        self.request.extensions_mut().insert(ClientAddr(address));
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let response = self.router.oneshot(self.request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The raw Set-Cookie lines.
    pub(crate) fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// The Cookie header that follows from the Set-Cookie lines.
    pub(crate) fn cookies(&self) -> String {
        let pairs: Vec<_> = self.set_cookies().into_iter().map(|line| line.split(';').next().unwrap()).collect();
        pairs.join("; ")
    }

    /// Asserts status and code of a refusal and that it is a problem.
    #[track_caller]
    pub(crate) fn is_refused(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
    }
}

/// A database of its own, dropped at the end.
pub(crate) struct Database {
    name: String,
    pub(crate) url: String,
}

impl Database {
    async fn migrated() -> Self {
        let database = Self::create().await;
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        sqlx::migrate!().run(&mut connection).await.unwrap();
        database
    }

    /// An empty one.
    pub(crate) async fn create() -> Self {
        let name = format!("user_{}", uuid::Uuid::new_v4().simple());
        let mut connection =
            PgConnection::connect(server_url()).await.expect("PostgreSQL of TEST_POSTGRES_URL answers");
        sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await.unwrap();
        let mut url = url::Url::parse(server_url()).unwrap();
        url.set_path(&name);
        Self { name, url: url.into() }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let statement = format!("drop database if exists {} with (force)", self.name);
        // A runtime of its own: the test's cannot wait here.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = PgConnection::connect(server_url()).await.unwrap();
                sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
            });
        });
        dropping.join().ok();
    }
}

fn server_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| std::env::var("TEST_POSTGRES_URL").expect("TEST_POSTGRES_URL is not set; run: make test"))
}
