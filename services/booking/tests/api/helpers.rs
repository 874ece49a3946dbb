//! A service for one test, with its own database and its own fakes of other services; and requests to it.

use axum::{
    Router,
    http::{Method, StatusCode},
};
use booking_service::{app::App, config::Config, loops::sweeper, state::AppState};
use chrono::{DateTime, Utc};
use clap::Parser;
use contracts::identity::Role;
use platform::{Clock, server::with_defaults};
use serde_json::{Value, json};
use sqlx::{FromRow, PgPool, postgres::PgRow};
use tempfile::TempDir;
pub(crate) use testing::{Answer, Call, http::all, server, wait_for};
use testing::{
    Database,
    identity::{access_token, jwks, write_private_key, write_ticket_key},
};
use uuid::Uuid;

use crate::neighbours::Neighbours;

pub(crate) const WEBHOOK_SECRET: &str = "whsec_ours";
pub(crate) const ALICE: i32 = 11;
pub(crate) const BOB: i32 = 12;

/// The service on a database of its own.
pub(crate) struct TestApp {
    pub(crate) app: App,
    pub(crate) neighbours: Neighbours,
    pub(crate) pool: PgPool,
    pub(crate) arguments: Vec<String>,
    clock: Clock,
    router: Router,
    _folder: TempDir,
    _database: Database,
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A service with other settings, as on the command line.
    pub(crate) async fn with(settings: &[&str]) -> Self {
        Self::on(Database::migrated("booking", &sqlx::migrate!()).await, settings).await
    }

    /// [`TestApp::with`] on this database.
    pub(crate) async fn on(database: Database, settings: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let neighbours = Neighbours::start(jwks()).await;
        write_private_key(folder.path(), "service");
        let ticket_keys = folder.path().join("ticket-keys");
        std::fs::create_dir(&ticket_keys).unwrap();
        write_ticket_key(&ticket_keys, "t1");
        let key_file = folder.path().join("service.pem");
        let mut arguments: Vec<String> = vec!["booking-service".into()];
        let own = [
            ("--database-url", database.url.clone()),
            ("--amqp-url", server("TEST_AMQP_URL")),
            ("--jwks-url", format!("{}/.well-known/jwks.json", neighbours.url)),
            ("--event-service-url", neighbours.url.clone()),
            ("--payment-api-url", neighbours.url.clone()),
            ("--service-key-file", key_file.display().to_string()),
            ("--ticket-keys-dir", ticket_keys.display().to_string()),
            ("--payment-api-key", "sk_test_ours".to_owned()),
            ("--payment-webhook-secret", WEBHOOK_SECRET.to_owned()),
            ("--payment-provider", "mock".to_owned()),
            ("--payment-timeout-seconds", "1".to_owned()),
            ("--event-timeout-seconds", "1".to_owned()),
        ];
        arguments.extend(own.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        for pair in settings.chunks(2) {
            if let Some(at) = arguments.iter().position(|argument| argument == pair[0]) {
                arguments.drain(at..=at + 1);
            }
            arguments.extend(pair.iter().map(ToString::to_string));
        }
        // The database and the fakes use the system's time, so this clock starts there too.
        let clock = Clock::fixed(Clock::system().now());
        let app = build(&arguments, &clock);
        let router = router(&app);
        let pool = PgPool::connect_lazy(&database.url).unwrap();
        Self { app, neighbours, pool, arguments, clock, router, _folder: folder, _database: database }
    }

    /// Another replica on the same database.
    pub(crate) fn replica(&self) -> App {
        build(&self.arguments, &self.clock)
    }

    pub(crate) fn state(&self) -> &AppState {
        &self.app.state
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
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

    pub(crate) fn delete(&self, path: &str) -> Call {
        Call::new(&self.router, Method::DELETE, path)
    }

    /// The access token of an attendee.
    pub(crate) fn token(&self, user_id: i32) -> String {
        self.token_as(user_id, Role::Attendee)
    }

    /// The access token of a user with that role.
    pub(crate) fn token_as(&self, user_id: i32, role: Role) -> String {
        access_token(self.clock.now(), user_id, role)
    }

    pub(crate) fn booking_request(&self, user_id: i32, event_id: &str, seats: i64) -> Call {
        let call = self.post("/bookings", json!({ "event_id": event_id, "seats": seats }));
        call.bearer(&self.token(user_id))
    }

    pub(crate) fn payment_request(&self, user_id: i32, booking_id: i32, method: &str) -> Call {
        let call = self.post("/payments", json!({ "booking_id": booking_id, "payment_method": method }));
        call.bearer(&self.token(user_id))
    }

    pub(crate) fn cancel_request(&self, user_id: i32, booking_id: i32) -> Call {
        Call::new(&self.router, Method::POST, &format!("/bookings/{booking_id}/cancel")).bearer(&self.token(user_id))
    }

    /// Alice books seats, which are held; the booking's number.
    pub(crate) async fn books(&self, event_id: &str, seats: i64) -> i32 {
        let answer = self.booking_request(ALICE, event_id, seats).send().await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.id()
    }

    /// Alice pays.
    pub(crate) async fn pays(&self, booking_id: i32, method: &str) -> Answer {
        self.payment_request(ALICE, booking_id, method).send().await
    }

    /// Alice books and pays; the booking's number.
    pub(crate) async fn buys(&self, event_id: &str, seats: i64) -> i32 {
        let booking = self.books(event_id, seats).await;
        let paid = self.pays(booking, "pm_card_visa").await;
        assert_eq!(paid.status, StatusCode::CREATED, "{paid:?}");
        booking
    }

    /// Alice's view of a booking.
    pub(crate) async fn booking(&self, id: i32) -> Value {
        let call = self.get(&format!("/bookings/{id}")).bearer(&self.token(ALICE));
        let answer = call.send().await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.body
    }

    /// Status and payment status of a booking.
    pub(crate) async fn standing(&self, id: i32) -> (String, String) {
        self.row("select status, payment_status from bookings where id = $1", id).await
    }

    #[track_caller]
    pub(crate) fn stands(&self, id: i32, status: &str, payment_status: &str) -> impl Future<Output = ()> {
        let wanted = (status.to_owned(), payment_status.to_owned());
        async move { assert_eq!(self.standing(id).await, wanted) }
    }

    /// The types of the messages about a booking, oldest first.
    pub(crate) async fn messages_about(&self, booking_id: i32) -> Vec<String> {
        let sql = "select message->>'type' from outbox
             where (message->>'booking_id')::int = $1 and message->>'type' like 'booking.%' order by created_at, id";
        sqlx::query_scalar(sql).bind(booking_id).fetch_all(&self.pool).await.unwrap()
    }

    /// The row of a query about a number.
    pub(crate) async fn row<T>(&self, sql: &'static str, id: i32) -> T
    where
        T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        sqlx::query_as(sql).bind(id).fetch_one(&self.pool).await.unwrap()
    }

    /// Changes rows.
    pub(crate) async fn execute(&self, sql: &'static str) -> u64 {
        sqlx::query(sql).execute(&self.pool).await.unwrap().rows_affected()
    }

    /// Lets every hold run out, here and in event-service.
    pub(crate) async fn holds_end(&self) {
        self.neighbours.end_holds();
        self.execute("update bookings set expires_at = now() - interval '1 second' where expires_at is not null").await;
    }

    /// A booking of two seats whose payment is processing while its hold ends; the charge.
    pub(crate) async fn pays_late(&self, event: &str) -> (i32, String) {
        let booking = self.books(event, 2).await;
        let answer = self.pays(booking, "pm_mock_late").await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        self.holds_end().await;
        self.sweeps().await;
        self.stands(booking, "Expired", "Unpaid").await;
        (booking, self.neighbours.charge_of(booking))
    }

    /// Lets every lease run out.
    pub(crate) async fn leases_end(&self) {
        for sql in [
            "update bookings set lease_until = null, next_check_at = now() - interval '1 second'",
            "update payments set lease_until = null, next_check_at = now() - interval '1 second'",
            "update refunds set lease_until = null, next_check_at = now() - interval '1 second'",
            "update account_deletions set lease_until = null, next_check_at = now() - interval '1 second'",
            "update idempotency_keys set lease_until = now() - interval '1 second'",
            "update outbox set lease_until = null",
        ] {
            self.execute(sql).await;
        }
    }

    /// Runs every sweeper once over all unfinished rows.
    pub(crate) async fn sweeps(&self) {
        self.leases_end().await;
        self.sweeps_what_is_due().await;
    }

    pub(crate) async fn sweeps_what_is_due(&self) {
        let state = self.state();
        sweeper::account_deletions(state).await.unwrap();
        sweeper::run_due_sagas(state).await.unwrap();
    }

    /// Asserts that each Confirmed booking has a ticket for each of its seats, and that no other booking has one.
    pub(crate) async fn tickets_are_consistent(&self) {
        let wrong: Vec<(i32, String, i32, i64)> = sqlx::query_as(
            "select b.id, b.status, b.seats, count(t.id) filter (where t.state <> 'void')
             from bookings b left join tickets t on t.booking_id = b.id
             group by b.id
             having count(t.id) filter (where t.state <> 'void') <> case when b.status = 'Confirmed' then b.seats else 0 end",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        assert_eq!(wrong, []);
    }

    /// Asserts what holds whenever nothing is under way.
    pub(crate) async fn is_consistent(&self) {
        let rows: Vec<Standing> =
            sqlx::query_as("select id, status, payment_status, event_id, seats, amount, reservation_id from bookings")
                .fetch_all(&self.pool)
                .await
                .unwrap();
        let mut confirmed = 0;
        for (id, status, payment_status, event_id, seats, amount, reservation) in rows {
            let (charged, charges) = self.neighbours.charged(id);
            let kept = charged - self.neighbours.refunded(id);
            assert!(charges <= 1, "booking {id} was charged {charges} times");
            let world = self.neighbours.world();
            let held = world.reservations.get(&reservation).cloned();
            if status == "Confirmed" {
                confirmed += 1;
                assert_eq!(payment_status, "Paid", "booking {id}");
                assert_eq!(kept, amount.unwrap(), "booking {id}");
                let held = held.expect("a confirmed booking has a reservation");
                assert_eq!((held.state, held.event_id), ("confirmed", event_id), "booking {id}");
                assert_eq!(i64::from(held.seats), i64::from(seats), "booking {id}");
            } else {
                assert_eq!(kept, 0, "booking {id} is {status}, {payment_status}");
                let state = held.map_or("none", |held| held.state);
                assert!(state != "confirmed", "booking {id} is {status}, its seats are {state}");
                assert!(status == "Pending" || state != "held", "booking {id} is {status}, its seats are {state}");
            }
        }
        self.tickets_are_consistent().await;
        let sold = self.neighbours.world().reservations.values().filter(|r| r.state == "confirmed").count();
        assert!(sold >= confirmed);
    }
}

fn build(arguments: &[String], clock: &Clock) -> App {
    App::build(&Config::try_parse_from(arguments).unwrap(), clock.clone()).unwrap()
}

pub(crate) fn router(app: &App) -> Router {
    let config = Config::try_parse_from(["booking-service"]).unwrap();
    with_defaults(app.router(), &config.server)
}

/// Number, status, payment status, event, seats, amount and reservation of a booking.
type Standing = (i32, String, String, String, i32, Option<i64>, Uuid);

/// An instant of an answer.
#[track_caller]
pub(crate) fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}
