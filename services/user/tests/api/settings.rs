//! What the program refuses to start with, and how it stands a database that is away.

use clap::Parser;
use platform::Clock;
use tempfile::TempDir;
use user_service::{app::App, config::Config};

use crate::helpers::{TestApp, registration, write_private_key};

const URL: &str = "postgres://user:a-fine-secret@127.0.0.1:1/user";

fn refusal(settings: &[(&str, &str)]) -> String {
    let arguments = settings.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]);
    let config = Config::try_parse_from(std::iter::once("user-service".to_owned()).chain(arguments)).unwrap();
    format!("{:#}", App::build(&config, Clock::system()).err().expect("refused"))
}

#[tokio::test]
async fn missing_and_invalid_settings_are_named() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    let empty = refusal(&[("database-url", URL), ("signing-keys-dir", path)]);
    write_private_key(folder.path(), "k");
    let keys = ("signing-keys-dir", path);
    let long = ("refresh-token-key", "0123456789abcdef0123456789abcdef");
    let events = ("event-service-url", "http://127.0.0.1:1");
    let most = [("database-url", URL), keys, long, events];
    let whole = [&most[..], &[("amqp-url", "amqp://127.0.0.1:1")]].concat();

    assert!(empty.contains("no <kid>.pem"), "{empty}");
    assert!(refusal(&[("database-url", "postgres://u:postgres@db/x")]).contains("well-known"));
    assert!(refusal(&[("database-url", URL)]).contains("set SIGNING_KEYS_DIR"));
    assert!(refusal(&[("database-url", URL), keys]).contains("set REFRESH_TOKEN_KEY"));
    assert!(refusal(&[("database-url", URL), keys, ("refresh-token-key", "short")]).contains("at least 32"));
    assert!(refusal(&[("database-url", URL), keys, long]).contains("set EVENT_SERVICE_URL"));
    assert!(refusal(&most).contains("set AMQP_URL"));
    assert!(refusal(&[&whole[..], &[("admin-email", "a@b")]].concat()).contains("set ADMIN_PASSWORD"));
    let weak = [("admin-email", "a@b"), ("admin-password", "changeme")];
    assert!(refusal(&[&whole[..], &weak].concat()).contains("well-known"));
    assert!(refusal(&[&whole[..], &[("admin-password", "a fine password")]].concat()).contains("set ADMIN_EMAIL"));
}

#[tokio::test]
async fn an_unavailable_database_is_a_503() {
    let app = TestApp::start().await;
    app.pool().close().await;

    let answer = app.post("/users/register", registration("ada")).send().await;

    answer.assert_refused(503, "database_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
}
