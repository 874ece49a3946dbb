//! The service on a database of its own, requests of its users, and their event streams.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::{HeaderValue, Request, Response, StatusCode},
};
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use clap::Parser;
use contracts::{
    identity::{AccessClaims, Language, Role},
    message::{BookingFact, EventFact, HolderFact, Message},
};
use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use notification_service::{app::App, config::Config, loops, routes, state::AppState};
use platform::{
    Clock,
    bus::{Bus, Failure, Received},
    config::Secret,
};
use serde_json::Value;
use testing::{
    WAIT_LIMIT,
    identity::{access_keys, access_token, claims, sign},
};
pub(crate) use testing::{server, wait_until};
use tokio::time::timeout;
use tower::ServiceExt;
use uuid::Uuid;

/// The host and port of a URL.
pub(crate) fn address(url: &str) -> String {
    let rest = url.split_once("://").unwrap().1;
    rest.split('/').next().unwrap().rsplit('@').next().unwrap().to_owned()
}

/// One replica of the service.
pub(crate) struct TestApp {
    pub(crate) state: AppState,
    pub(crate) clock: Clock,
    pub(crate) database: mongodb::Database,
    concurrency: u16,
    router: Router,
}

/// The settings that tests change.
pub(crate) struct Options {
    pub(crate) database: String,
    pub(crate) mongodb_url: String,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) streams_max: usize,
    pub(crate) concurrency: u16,
}

impl Options {
    pub(crate) fn default() -> Self {
        Self {
            database: format!("notification_test_{}", Uuid::new_v4().simple()),
            mongodb_url: server("TEST_MONGODB_URL"),
            heartbeat_interval: Duration::from_secs(15),
            streams_max: 100,
            concurrency: 4,
        }
    }
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let arguments = [
            "notification-service",
            &format!("--mongodb-url={}", options.mongodb_url),
            &format!("--mongodb-database={}", options.database),
            &format!("--amqp-url={}", server("TEST_AMQP_URL")),
            "--jwks-url=http://127.0.0.1:1/.well-known/jwks.json",
            &format!("--streams-max={}", options.streams_max),
        ];
        let config = Config::try_parse_from(arguments).unwrap();
        let clock = Clock::fixed(noon());
        let app = App::with_access_keys(&config, clock.clone(), access_keys()).await.unwrap();
        let state = AppState { heartbeat_interval: options.heartbeat_interval, ..app.state.clone() };
        state.store.migrate().await.unwrap();
        let (database, router) = (state.store.database().clone(), routes::router(state.clone()));
        Self { state, clock, database, concurrency: options.concurrency, router }
    }

    /// Another replica on the same database.
    pub(crate) async fn replica(&self) -> Self {
        Self::with(Options { database: self.database.name().to_owned(), ..Options::default() }).await
    }

    pub(crate) async fn handles(&self, id: Uuid, message: Message) -> Result<(), Failure> {
        loops::consumer::handle(&self.state, Received { id, message }).await
    }

    /// Handles the message of a confirmed booking; returns its id, which is the notification's too.
    pub(crate) async fn confirms_booking(&self, user_id: i32, booking_id: i32) -> Uuid {
        let id = Uuid::new_v4();
        self.handles(id, Message::BookingConfirmed(booking(user_id, booking_id))).await.unwrap();
        id
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn get(&self, user_id: i32, path: &str) -> (StatusCode, Value) {
        json(self.send(request("GET", user_id, path).body(Body::empty()).unwrap()).await).await
    }

    pub(crate) async fn post(&self, user_id: i32, path: &str, body: &str) -> (StatusCode, Value) {
        let builder = request("POST", user_id, path).header("content-type", "application/json");
        json(self.send(builder.body(Body::from(body.to_owned())).unwrap()).await).await
    }

    /// The booking ids of a user's notifications, newest first.
    pub(crate) async fn listed(&self, user_id: i32) -> Vec<i64> {
        let (status, list) = self.get(user_id, &format!("/notifications/{user_id}?limit=100")).await;
        assert_eq!(status, StatusCode::OK, "{list}");
        list["items"].as_array().unwrap().iter().map(|item| item["booking_id"].as_i64().unwrap()).collect()
    }

    /// The sequence numbers of a user's notifications, newest first.
    pub(crate) async fn sequence_numbers(&self, user_id: i32) -> Vec<i64> {
        let (_, list) = self.get(user_id, &format!("/notifications/{user_id}?limit=100")).await;
        list["items"].as_array().unwrap().iter().map(|item| item["seq"].as_i64().unwrap()).collect()
    }

    pub(crate) async fn opens_stream(&self, user_id: i32) -> Stream {
        self.opens_stream_after(user_id, None).await
    }

    pub(crate) async fn opens_stream_after(&self, user_id: i32, last_event_id: Option<&str>) -> Stream {
        let mut builder = request("GET", user_id, &format!("/notifications/{user_id}/stream"));
        if let Some(id) = last_event_id {
            builder = builder.header("last-event-id", id);
        }
        Stream::of(self.send(builder.body(Body::empty()).unwrap()).await)
    }

    /// The validators and indexes of the database.
    pub(crate) async fn schema(&self) -> Vec<bson::Document> {
        let mut schema = Vec::new();
        for name in ["notifications", "counters"] {
            let found = self.database.list_collections().filter(bson::doc! { "name": name }).await.unwrap();
            let found: Vec<_> = found.try_collect().await.unwrap();
            schema.push(found[0].options.validator.clone().unwrap());
            let indexes = self.database.collection::<bson::Document>(name).list_indexes().await.unwrap();
            let indexes: Vec<_> = indexes.try_collect().await.unwrap();
            schema.extend(indexes.into_iter().map(|index| index.keys));
        }
        schema
    }

    pub(crate) fn start_consumer(&self) {
        let bus = Bus::new(&Secret::new(server("TEST_AMQP_URL")), "test").unwrap();
        loops::consumer::start(&self.state.lifecycle, &self.state, &bus, self.concurrency);
    }

    pub(crate) fn start_watcher(&self) {
        loops::watcher::start(&self.state.lifecycle, &self.state);
    }

    pub(crate) fn stop(&self) {
        self.state.lifecycle.stop();
    }

    pub(crate) async fn end(self) {
        self.stop();
        self.database.drop().await.unwrap();
    }
}

pub(crate) async fn json(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

pub(crate) fn request(method: &str, user_id: i32, path: &str) -> axum::http::request::Builder {
    let token = access_token(noon(), user_id, Role::Attendee);
    Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"))
}

/// The time of the fixed clocks.
pub(crate) fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap()
}

/// An access token that is valid for `lifetime` from noon.
pub(crate) fn token(user_id: i32, role: Role, lifetime: TimeDelta) -> String {
    let exp = (noon() + lifetime).timestamp();
    sign(&AccessClaims { exp, ..claims(noon(), user_id, role) })
}

/// The header `Authorization` of a user whose account has that language.
pub(crate) fn bearer_in(user_id: i32, language: Option<Language>) -> HeaderValue {
    let claims = AccessClaims { language, ..claims(noon(), user_id, Role::Attendee) };
    format!("Bearer {}", sign(&claims)).try_into().unwrap()
}

pub(crate) fn booking(user_id: i32, booking_id: i32) -> BookingFact {
    BookingFact {
        booking_id,
        user_id,
        event_id: "0197c5a0-0000-7000-8000-000000000001".to_owned(),
        event_title: "Jazz Night".to_owned(),
        seats: 2,
        amount: 5000,
        currency: "EUR".to_owned(),
        reason: None,
        occurred_at: noon(),
    }
}

pub(crate) fn event() -> EventFact {
    EventFact {
        event_id: "0197c5a0-0000-7000-8000-000000000001".to_owned(),
        title: "Jazz Night".to_owned(),
        venue: "Blue Hall".to_owned(),
        starts_at: noon(),
        ends_at: noon(),
        time_zone: "Europe/Berlin".to_owned(),
        changed: vec!["venue".to_owned()],
        version: 2,
        edited_version: None,
        unannounced: false,
        occurred_at: noon(),
    }
}

pub(crate) fn holder(user_id: i32) -> HolderFact {
    HolderFact { user_id, booking_id: 1, event: event() }
}

/// The client of an event stream.
pub(crate) struct Stream {
    pub(crate) response: Response<()>,
    body: BodyDataStream,
    text: String,
}

/// An event or a comment.
#[derive(Debug, Default)]
pub(crate) struct StreamItem {
    pub(crate) event: String,
    pub(crate) id: String,
    pub(crate) data: Value,
    pub(crate) retry: String,
    pub(crate) comment: Option<String>,
}

impl Stream {
    pub(crate) fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        Self { response: Response::from_parts(parts, ()), body: body.into_data_stream(), text: String::new() }
    }

    /// The next item; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<StreamItem> {
        timeout(WAIT_LIMIT, self.read()).await.expect("the stream is silent")
    }

    /// The next event of that name, which must arrive within `limit`. Skips other items.
    pub(crate) async fn next_named(&mut self, name: &str, limit: Duration) -> StreamItem {
        let waiting = async {
            loop {
                let item = self.read().await.expect("the stream ended");
                if item.event == name {
                    return item;
                }
            }
        };
        timeout(limit, waiting).await.unwrap_or_else(|_| panic!("no {name} within {limit:?}"))
    }

    async fn read(&mut self) -> Option<StreamItem> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let one: String = self.text.drain(..end + 2).collect();
                return Some(parse(one.trim_end()));
            }
            let chunk = self.body.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

fn parse(text: &str) -> StreamItem {
    let mut item = StreamItem::default();
    for line in text.lines() {
        match line.split_once(':').map(|(name, value)| (name, value.trim_start())) {
            Some(("event", value)) => value.clone_into(&mut item.event),
            Some(("id", value)) => value.clone_into(&mut item.id),
            Some(("retry", value)) => value.clone_into(&mut item.retry),
            Some(("data", value)) => item.data = serde_json::from_str(value).unwrap(),
            Some(("", value)) => item.comment = Some(value.to_owned()),
            _ => panic!("not an event stream: {line:?}"),
        }
    }
    item
}
