//! A service for one test, and requests to it.

use std::{fs, time::Duration};

use axum::{
    Router,
    http::{Method, StatusCode},
};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use platform::{Clock, config::ServerArgs, server::with_defaults};
use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;
pub(crate) use testing::{Answer, Call, Database, identity::write_private_key};
use user_service::{app::App, config::Config, loops::first_admin::FirstAdmin, state::AppState};

pub(crate) const PASSWORD: &str = "correct horse battery";

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
        let database = Database::migrated("user", &sqlx::migrate!()).await;
        let folder = TempDir::new().unwrap();
        write_private_key(folder.path(), "2026-01");
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
        Call::new(&self.router, Method::GET, path)
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers read better with json!(…) as it is")]
    pub(crate) fn post(&self, path: &str, body: Value) -> Call {
        Call::new(&self.router, Method::POST, path).json(&body)
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers read better with json!(…) as it is")]
    pub(crate) fn patch(&self, path: &str, body: Value) -> Call {
        Call::new(&self.router, Method::PATCH, path).json(&body)
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        Call::new(&self.router, method, path)
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
    (app.state.clone(), with_defaults(app.router(), &service_args()))
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

/// The tokens of a session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl AsRef<str> for Session {
    /// The access token.
    fn as_ref(&self) -> &str {
        &self.access
    }
}

impl Session {
    pub(crate) fn of(answer: &Answer) -> Self {
        let text = |field: &str| answer.body[field].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}
