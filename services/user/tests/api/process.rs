//! The program itself, as a process: from `migrate` to SIGTERM, and the memory it takes.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use crate::helpers::{Database, PASSWORD, registration, write_private_key};

/// A running user-service with an admin of its own. Killed at the end.
struct Program {
    process: Child,
    public: String,
    admin: String,
    _folder: TempDir,
    database: Database,
}

fn command(database: &Database) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_user-service"));
    command.env_clear().env("DATABASE_URL", &database.url).env("LOG_FORMAT", "json").stderr(Stdio::piped());
    command
}

impl Program {
    async fn start() -> Self {
        let database = Database::create("user").await;
        let migrated = command(&database).arg("migrate").status().unwrap();
        assert!(migrated.success());
        let folder = TempDir::new().unwrap();
        write_private_key(folder.path(), "k1");
        fs::write(folder.path().join("refresh.key"), [7; 32]).unwrap();
        fs::write(folder.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        let mut process = command(&database)
            .envs([("LISTEN_ADDR", "127.0.0.1:0"), ("ADMIN_ADDR", "127.0.0.1:0"), ("SHUTDOWN_DELAY_SECONDS", "0")])
            .env("AMQP_URL", "amqp://127.0.0.1:1")
            .env("SIGNING_KEYS_DIR", folder.path())
            .env("REFRESH_TOKEN_KEY_FILE", folder.path().join("refresh.key"))
            .env("EVENT_SERVICE_URL", "http://127.0.0.1:1")
            .env("ADMIN_EMAIL", "root@example.org")
            .env("ADMIN_PASSWORD_FILE", folder.path().join("password"))
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let listening = loop {
            let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            if line["message"] == "listening" {
                break line;
            }
        };
        // Read on, so that the process never waits for its log.
        std::thread::spawn(move || lines.for_each(drop));
        let url = |field: &str| format!("http://{}", listening[field].as_str().unwrap());
        Self { process, public: url("address"), admin: url("admin"), _folder: folder, database }
    }

    async fn login(&self, client: &reqwest::Client, email: &str) -> u16 {
        let body = json!({ "email": email, "password": PASSWORD });
        client.post(format!("{}/users/login", self.public)).json(&body).send().await.unwrap().status().as_u16()
    }

    fn resident_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[tokio::test]
async fn five_hundred_concurrent_logins_take_bounded_memory() {
    let program = Program::start().await;
    let client = platform::client::build(Duration::from_secs(60));
    let register = client.post(format!("{}/users/register", program.public)).json(&registration("ada"));
    assert_eq!(register.send().await.unwrap().status().as_u16(), 201);

    let logins = stream::iter(0..500).map(|_| program.login(&client, "ada@example.org")).buffer_unordered(64);
    let statuses: Vec<u16> = logins.collect().await;

    assert!(statuses.iter().all(|status| *status == 200));
    let resident = program.resident_mib();
    assert!(resident <= 80, "{resident} MiB");
}

#[tokio::test]
async fn the_program_is_ready_creates_its_admin_and_stops_on_sigterm() {
    let mut program = Program::start().await;
    let client = platform::client::build(Duration::from_secs(10));

    let ready = client.get(format!("{}/readyz", program.admin)).send().await.unwrap();
    assert_eq!(ready.status().as_u16(), 200);
    let metrics = client.get(format!("{}/metrics", program.admin)).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("eventplatform_http_request_seconds"));
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut database = PgConnection::connect(&program.database.url).await.unwrap();
    let admins = "select count(*) from users where role = 'admin'";
    while sqlx::query_scalar::<_, i64>(admins).fetch_one(&mut database).await.unwrap() == 0 {
        assert!(Instant::now() < deadline, "no first admin");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(program.login(&client, "root@example.org").await, 200);
    let pid = Pid::from_raw(program.process.id().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();

    let status = tokio::task::spawn_blocking(move || program.process.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn the_command_republish_deletions_says_how_many_messages_it_enqueued() {
    let database = Database::migrated("user", &sqlx::migrate!()).await;
    let deleted = "insert into users (email, name, role, status, password_hash, registration_id, deleted_at)
                   values ('1@deleted.invalid', '', 'attendee', 'disabled', '', gen_random_uuid(), '2026-01-31T12:00:00Z')";
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    sqlx::query(deleted).execute(&mut connection).await.unwrap();

    for (since, expected) in [("2026-01-31T12:00:01Z", 0), ("2026-01-31T12:00:00Z", 1)] {
        let output = command(&database).args(["republish-deletions", "--since", since]).output().unwrap();

        assert!(output.status.success(), "{output:?}");
        let line: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(line["messages"], expected, "{line}");
        let enqueued = "select count(*) from outbox";
        assert_eq!(sqlx::query_scalar::<_, i64>(enqueued).fetch_one(&mut connection).await.unwrap(), expected);
    }
}
