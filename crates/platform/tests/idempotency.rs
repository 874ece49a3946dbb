//! N identical requests, one effect, N identical answers: on real PostgreSQL and MongoDB.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, Request, StatusCode},
    routing::post,
};
use futures::future::join_all;
use platform::{
    ApiError, ApiResult, Clock,
    config::Secret,
    extract::JsonBody,
    idempotency::{IdempotencyKey, IdempotencyStore, MongoIdempotency, PgIdempotency, Replayable, run},
};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use uuid::Uuid;

const TABLE: &str = "create table idempotency_keys (
    user_id integer not null, method text not null, path text not null, key text not null,
    fingerprint bytea not null, operation_id uuid not null, lease_token uuid, lease_until timestamptz not null,
    status smallint, headers text[], body bytea, created_at timestamptz not null default now(),
    primary key (user_id, method, path, key))";

/// What the handler under test counts and waits for.
#[derive(Clone)]
struct Work<S> {
    store: S,
    runs: Arc<AtomicU32>,
    may_finish: Arc<Semaphore>,
}

async fn handler<S: IdempotencyStore>(
    State(work): State<Work<S>>,
    key: IdempotencyKey,
    body: JsonBody<Value>,
) -> ApiResult<Replayable<Json<Value>>> {
    let body = body.parse()?;
    let Work { store, runs, may_finish } = work;
    run(&store, key, 7, &body.clone(), move |operation_id| async move {
        let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
        let _turn = may_finish.acquire().await;
        match body["fail_until_run"].as_u64() {
            Some(last) if u64::from(run) <= last => Err(match body["passing"].as_bool() {
                Some(true) => ApiError::conflict("not_now", "asked to wait").transient(),
                Some(false) => ApiError::conflict("not_yet", "asked to come back").retry_after(7),
                None => ApiError::internal(anyhow::anyhow!("asked to fail")),
            }),
            _ => Ok(Json(json!({ "operation_id": operation_id, "run": run }))),
        }
    })
    .await
}

async fn send<S: IdempotencyStore>(work: &Work<S>, key: &str, body: &Value) -> (StatusCode, Value) {
    let (status, _, body) = send_whole(work, key, body).await;
    (status, body)
}

async fn send_whole<S: IdempotencyStore>(work: &Work<S>, key: &str, body: &Value) -> (StatusCode, HeaderMap, Value) {
    let request = Request::post("/things")
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = Router::new().route("/things", post(handler::<S>)).with_state(work.clone()).oneshot(request).await;
    let response = response.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap())
}

fn work<S>(store: S, permits: usize) -> Work<S> {
    Work { store, runs: Arc::default(), may_finish: Arc::new(Semaphore::new(permits)) }
}

fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set; run: make test"))
}

/// A database that goes away at the end of the test.
struct Database {
    admin_url: String,
    name: String,
    pool: PgPool,
}

impl Database {
    async fn create() -> Self {
        let admin_url = server("TEST_POSTGRES_URL");
        let name = format!("idempotency_{}", Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&admin_url).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&mut admin).await.unwrap();
        let options: sqlx::postgres::PgConnectOptions = admin_url.parse().unwrap();
        let pool = PgPool::connect_with(options.database(&name)).await.unwrap();
        sqlx::query(TABLE).execute(&pool).await.unwrap();
        Self { admin_url, name, pool }
    }

    async fn drop(self) {
        self.pool.close().await;
        let mut admin = PgConnection::connect(&self.admin_url).await.unwrap();
        let sql = format!("drop database {} with (force)", self.name);
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    }
}

async fn mongo_store() -> (MongoIdempotency, mongodb::Database) {
    let url = Secret::new(server("TEST_MONGODB_URL"));
    let name = format!("idempotency_{}", Uuid::new_v4().simple());
    let database = platform::mongo::database(&url, "test", &name).await.unwrap();
    (MongoIdempotency::new(&database, Clock::system()), database)
}

async fn twenty_identical_requests_run_once<S: IdempotencyStore>(store: S) {
    let work = work(store, 1);

    let answers = join_all((0..20).map(|_| async { send(&work, "once", &json!({"a": 1})).await })).await;

    assert_eq!(work.runs.load(Ordering::SeqCst), 1);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0].0, StatusCode::OK);
}

async fn another_body_under_the_same_key_is_refused<S: IdempotencyStore>(store: S) {
    let work = work(store, 1);
    send(&work, "reused", &json!({"a": 1})).await;

    let (status, problem) = send(&work, "reused", &json!({"a": 2})).await;

    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["code"], "idempotency_key_reused");
}

async fn a_server_error_is_not_stored_and_a_retry_keeps_the_operation_id<S: IdempotencyStore>(store: S) {
    let work = work(store.clone(), 1);
    let body = json!({"fail_until_run": 1});

    let (first, _) = send(&work, "retried", &body).await;
    let (second, answer) = send(&work, "retried", &body).await;
    let (third, replayed) = send(&work, "retried", &body).await;

    assert_eq!(
        (first, second, third),
        (StatusCode::INTERNAL_SERVER_ERROR, StatusCode::OK, StatusCode::OK),
        "{answer} {replayed}"
    );
    assert_eq!(answer, replayed);
    assert_eq!(answer["run"], 2);
}

async fn a_refusal_that_passes_by_itself_is_not_stored<S: IdempotencyStore>(store: S) {
    let work = work(store, 1);
    let body = json!({"fail_until_run": 1, "passing": true});

    let (first, _) = send(&work, "passing", &body).await;
    let (second, _) = send(&work, "passing", &body).await;

    assert_eq!((first, second), (StatusCode::CONFLICT, StatusCode::OK));
}

async fn a_stored_answer_keeps_its_headers<S: IdempotencyStore>(store: S) {
    let work = work(store, 1);
    let body = json!({"fail_until_run": 1, "passing": false});

    let first = send_whole(&work, "refused", &body).await;
    let replayed = send_whole(&work, "refused", &body).await;

    assert_eq!(work.runs.load(Ordering::SeqCst), 1);
    assert_eq!(first, replayed);
    let header = |name| replayed.1.get(name).map(|value| value.to_str().unwrap());
    assert_eq!((header("retry-after"), header("cache-control")), (Some("7"), Some("no-store")));
    assert_eq!(header("content-type"), Some("application/problem+json"));
}

async fn a_request_waits_for_a_running_one_and_is_then_told_to_come_back<S: IdempotencyStore>(store: S) {
    let work = work(store, 0);
    let running = tokio::spawn({
        let work = work.clone();
        async move { send(&work, "slow", &json!({})).await }
    });
    while work.runs.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }

    let (status, problem) = send(&work, "slow", &json!({})).await;
    work.may_finish.add_permits(1);

    assert_eq!((status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("request_in_progress")));
    assert_eq!(running.await.unwrap().0, StatusCode::OK);
    assert_eq!(work.runs.load(Ordering::SeqCst), 1, "the lease was renewed while the work went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_records_hold_the_promise() {
    let database = Database::create().await;
    let store = || PgIdempotency::new(database.pool.clone());

    tokio::join!(
        twenty_identical_requests_run_once(store()),
        another_body_under_the_same_key_is_refused(store()),
        a_server_error_is_not_stored_and_a_retry_keeps_the_operation_id(store()),
        a_refusal_that_passes_by_itself_is_not_stored(store()),
        a_stored_answer_keeps_its_headers(store()),
        a_request_waits_for_a_running_one_and_is_then_told_to_come_back(store()),
    );

    assert_eq!(store().purge().await.unwrap(), 0, "fresh records stay");
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mongo_records_hold_the_promise() {
    let (store, database) = mongo_store().await;
    store.create_indexes().await.unwrap();

    tokio::join!(
        twenty_identical_requests_run_once(store.clone()),
        another_body_under_the_same_key_is_refused(store.clone()),
        a_server_error_is_not_stored_and_a_retry_keeps_the_operation_id(store.clone()),
        a_refusal_that_passes_by_itself_is_not_stored(store.clone()),
        a_stored_answer_keeps_its_headers(store.clone()),
        a_request_waits_for_a_running_one_and_is_then_told_to_come_back(store.clone()),
    );

    database.drop().await.unwrap();
}
