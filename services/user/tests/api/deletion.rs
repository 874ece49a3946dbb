//! The deletion of one's own account.

use std::time::Duration;

use axum::{
    Json,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use chrono::DateTime;
use contracts::{identity::Role, message::Message};
use futures::future::{join, join3};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction, types};
use user_service::loops::first_admin::FirstAdmin;
use uuid::Uuid;

use crate::{
    events::{EventService, breakdown, list, refusal},
    helpers::{Answer, PASSWORD, Session, TestApp, registration},
    keys::{revocations, sid},
};

fn no_events() -> Response {
    Json(json!({ "items": [], "next_cursor": null })).into_response()
}

/// A service whose event-service knows no events.
async fn start() -> TestApp {
    EventService::answers(no_events, Duration::ZERO).await.platform().await
}

async fn deletes(app: &TestApp, session: &Session, password: &str) -> Answer {
    app.post("/users/me/delete", json!({ "password": password })).bearer(session).send().await
}

async fn id_of(app: &TestApp, session: &Session) -> Value {
    app.get("/users/me").bearer(session).send().await.body["id"].clone()
}

/// Another admin, promoted by one.
async fn second_admin(app: &TestApp, admin: &Session) -> Session {
    let id = app.registers("eve").await;
    let promoted = app.patch(&format!("/users/{id}"), json!({ "role": "admin" })).bearer(admin).send().await;
    assert_eq!(promoted.status, StatusCode::OK, "{promoted:?}");
    app.logs_in("eve").await
}

async fn messages(app: &TestApp) -> Vec<Message> {
    let rows = sqlx::query_scalar::<_, types::Json<Message>>("select message from outbox").fetch_all(app.pool()).await;
    rows.unwrap().into_iter().map(|row| row.0).collect()
}

/// The tables that hold a text in any column, be it within bytes.
async fn tables_with(pool: &PgPool, text: &str) -> Vec<String> {
    let tables = "select tablename::text from pg_tables where schemaname = 'public' order by 1";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(pool).await.unwrap();
    assert!(tables.len() > 8, "{tables:?}");
    let mut found = Vec::new();
    for table in tables {
        // PostgreSQL writes bytes in hex.
        let sql = format!(
            "select exists (select from {table} t where strpos(lower(t::text), lower($1)) > 0 or strpos(t::text, $2) > 0)"
        );
        let search = sqlx::query_scalar::<_, bool>(AssertSqlSafe(sql)).bind(text).bind(hex::encode(text));
        if search.fetch_one(pool).await.unwrap() {
            found.push(table);
        }
    }
    found
}

/// Nothing of the account changed: it is used as before, and nobody is told anything.
async fn assert_unchanged(app: &TestApp, session: &Session, name: &str) {
    let me = app.get("/users/me").bearer(session).send().await;
    assert_eq!((me.status, &me.body["email"]), (StatusCode::OK, &json!(format!("{name}@example.org"))));
    assert!(messages(app).await.is_empty());
    assert_eq!(app.tries(name, PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_deleted_account_leaves_no_personal_data_in_any_table() {
    let app = start().await;
    let mut body = registration("ada");
    (body["name"], body["language"]) = (json!("Ada Lovelace"), json!("de"));
    let registered = app.post("/users/register", body).header("idempotency-key", "k1").send().await;
    assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
    let login = json!({ "email": "ada@example.org", "password": PASSWORD });
    let login = app.post("/users/login", login).header("user-agent", "Analytical Engine").send().await;
    let session = Session::of(&login);
    app.call(Method::PUT, "/users/me/organizer-request").bearer(&session).send().await;
    let (admin, id) = (app.admin().await, &registered.body["id"]);
    app.call(Method::POST, &format!("/users/{id}/password-reset")).bearer(&admin).send().await;
    assert_eq!(tables_with(app.pool(), "ada@example.org").await, ["idempotency_keys", "users"]);
    assert_eq!(tables_with(app.pool(), "Ada Lovelace").await, ["idempotency_keys", "users"]);
    assert_eq!(tables_with(app.pool(), "Analytical Engine").await, ["sessions"]);

    let deleted = deletes(&app, &session, PASSWORD).await;

    assert_eq!((deleted.status, deleted.body), (StatusCode::NO_CONTENT, Value::Null));
    for text in ["ada@example.org", "Ada Lovelace", "Analytical Engine"] {
        assert_eq!(tables_with(app.pool(), text).await, [""; 0], "{text}");
    }
    let rows = "select (select count(*) from known_clients where user_id = $1)
                     + (select count(*) from password_resets where user_id = $1)";
    let id = i32::try_from(id.as_i64().unwrap()).unwrap();
    assert_eq!(sqlx::query_scalar::<_, i64>(rows).bind(id).fetch_one(app.pool()).await.unwrap(), 0);
    let row = "select (email, name, password_hash, role, status, requested_role, language)::text from users
               where id = $1 and deleted_at is not null";
    let row: String = sqlx::query_scalar(row).bind(id).fetch_one(app.pool()).await.unwrap();
    assert!(row.ends_with(r#"@deleted.invalid,"","",attendee,disabled,,)"#), "{row}");
}

#[tokio::test]
async fn a_deletion_ends_every_session_and_notifies_the_other_services() {
    let app = start().await;
    let (here, elsewhere) = (app.user("ada").await, app.logs_in("ada").await);
    let id = id_of(&app, &here).await;

    assert_eq!(deletes(&app, &here, PASSWORD).await.status, StatusCode::NO_CONTENT);

    for session in [&here, &elsewhere] {
        app.get("/users/me").bearer(session).send().await.assert_refused(401, "session_over");
        app.refreshes(&session.refresh).await.assert_refused(401, "session_over");
    }
    let mut ended = [sid(&here), sid(&elsewhere)];
    ended.sort();
    assert_eq!(revocations(&app).await.sessions, ended);
    let messages = messages(&app).await;
    let [Message::UserDeleted(fact)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(json!(fact.user_id), id);
    app.tries("ada", PASSWORD).await.assert_refused(401, "invalid_credentials");
    app.tries("ada", "").await.assert_refused(401, "invalid_credentials");
}

#[tokio::test]
async fn the_role_lost_by_a_deletion_is_published() {
    let app = start().await;
    let admin = app.admin().await;
    let eve = second_admin(&app, &admin).await;
    let id = id_of(&app, &eve).await;

    assert_eq!(deletes(&app, &eve, PASSWORD).await.status, StatusCode::NO_CONTENT);

    let id = i32::try_from(id.as_i64().unwrap()).unwrap();
    assert_eq!(revocations(&app).await.roles.get(&id), Some(&Role::Attendee));
}

#[tokio::test]
async fn the_address_of_a_deleted_account_can_register_again_immediately() {
    let app = start().await;
    let session = app.user("ada").await;
    let first = id_of(&app, &session).await;
    for _ in 0..10 {
        app.tries("ada", "wrong password").await;
    }

    assert_eq!(deletes(&app, &session, PASSWORD).await.status, StatusCode::NO_CONTENT);

    let second = app.registers("ada").await;
    assert_ne!(json!(second), first);
    let session = app.logs_in("ada").await;
    assert_eq!(deletes(&app, &session, PASSWORD).await.status, StatusCode::NO_CONTENT, "and may go again");
}

#[tokio::test]
async fn a_repeated_registration_does_not_bring_a_deleted_account_back() {
    let app = start().await;
    let send = |body| app.post("/users/register", body).header("idempotency-key", "k1").send();
    assert_eq!(send(registration("ada")).await.status, StatusCode::CREATED);
    let session = app.logs_in("ada").await;

    assert_eq!(deletes(&app, &session, PASSWORD).await.status, StatusCode::NO_CONTENT);

    let repeated = send(registration("ada")).await;
    repeated.assert_refused(409, "account_deleted");
    assert_eq!(
        (repeated.header("content-type"), repeated.header("cache-control")),
        ("application/problem+json", "no-store")
    );
    send(registration("bob")).await.assert_refused(409, "account_deleted");
    let kept: Vec<Vec<u8>> =
        sqlx::query_scalar("select fingerprint from idempotency_keys").fetch_all(app.pool()).await.unwrap();
    assert_eq!(kept, [[0; 0]], "nothing is left that the request could be compared with");
    assert_eq!(app.tries("ada", PASSWORD).await.code(), "invalid_credentials");
    let renewed = app.post("/users/register", registration("ada")).header("idempotency-key", "k2").send().await;
    assert_eq!(renewed.status, StatusCode::CREATED, "{renewed:?}");
}

#[tokio::test]
async fn a_registration_whose_answer_was_not_stored_does_not_bring_a_deleted_account_back() {
    let app = start().await;
    let send = || app.post("/users/register", registration("ada")).header("idempotency-key", "k1").send();
    send().await;
    let session = app.logs_in("ada").await;
    // As if the process had died after making the user and before storing the answer.
    let unfinished =
        "update idempotency_keys set status = null, body = null, lease_until = now() - interval '1 second'";
    sqlx::query(unfinished).execute(app.pool()).await.unwrap();

    assert_eq!(deletes(&app, &session, PASSWORD).await.status, StatusCode::NO_CONTENT);

    send().await.assert_refused(409, "account_deleted");
}

#[tokio::test]
async fn admins_neither_see_nor_change_a_deleted_account() {
    let app = start().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let id = id_of(&app, &ada).await;

    assert_eq!(deletes(&app, &ada, PASSWORD).await.status, StatusCode::NO_CONTENT);

    for query in ["", "?status=active", "?status=disabled"] {
        let listed = app.get(&format!("/users{query}")).bearer(&admin).send().await;
        let ids = listed.body["items"].as_array().unwrap().iter().map(|user| &user["id"]);
        assert_eq!(ids.filter(|listed| **listed == id).count(), 0, "{query}");
    }
    let change = app.patch(&format!("/users/{id}"), json!({ "status": "active" })).bearer(&admin).send().await;
    change.assert_refused(404, "user_not_found");
    let reset = app.call(Method::POST, &format!("/users/{id}/password-reset")).bearer(&admin).send().await;
    reset.assert_refused(404, "user_not_found");
    // What an older replica would write.
    for change in ["name = 'Ada'", "status = 'active'", "role = 'admin'", "password_hash = 'x'", "language = 'de'"] {
        let sql = format!("update users set {change} where deleted_at is not null");
        sqlx::query(AssertSqlSafe(sql)).execute(app.pool()).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_deletion_clears_the_cookies_of_the_browser() {
    let app = start().await;
    app.registers("ada").await;
    let cookies = app.logs_in_by_cookie("ada").await;
    let delete = || app.post("/users/me/delete", json!({ "password": PASSWORD }));

    delete()
        .header("cookie", &cookies)
        .header("origin", "https://elsewhere")
        .send()
        .await
        .assert_refused(403, "cross_origin");
    let deleted = delete().cookies(&cookies).send().await;

    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let cleared = deleted.set_cookies();
    assert!(cleared.len() >= 2 && cleared.iter().all(|cookie| cookie.contains("Max-Age=0")), "{cleared:?}");
}

#[tokio::test]
async fn a_deletion_needs_the_password() {
    let app = start().await;
    let session = app.user("ada").await;

    app.post("/users/me/delete", json!({ "password": PASSWORD })).send().await.assert_refused(401, "login_required");
    app.post("/users/me/delete", json!({})).bearer(&session).send().await.assert_refused(400, "invalid_json");
    for _ in 0..10 {
        deletes(&app, &session, "wrong password").await.assert_refused(403, "wrong_password");
    }
    let limited = deletes(&app, &session, PASSWORD).await;

    limited.assert_refused(429, "too_many_attempts");
    assert_unchanged(&app, &session, "ada").await;
}

#[tokio::test]
async fn the_last_active_admin_cannot_be_deleted() {
    let app = start().await;
    let admin = app.admin().await;
    let eve = second_admin(&app, &admin).await;
    let path = format!("/users/{}", id_of(&app, &eve).await);
    app.patch(&path, json!({ "status": "disabled" })).bearer(&admin).send().await;

    deletes(&app, &admin, PASSWORD).await.assert_refused(409, "last_admin");

    assert_unchanged(&app, &admin, "root").await;
    app.patch(&path, json!({ "status": "active" })).bearer(&admin).send().await;
    assert_eq!(deletes(&app, &admin, PASSWORD).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_deleted_first_admin_is_not_created_again() {
    let app = start().await;
    let admin = app.admin().await;
    second_admin(&app, &admin).await;
    assert_eq!(deletes(&app, &admin, PASSWORD).await.status, StatusCode::NO_CONTENT);

    FirstAdmin::parse("root@example.org", PASSWORD).unwrap().create(&app.state).await.unwrap();

    app.tries("root", PASSWORD).await.assert_refused(401, "invalid_credentials");
    app.registers("root").await;
}

#[tokio::test]
async fn of_two_admins_deleted_concurrently_one_stays() {
    let app = start().await;
    let admin = app.admin().await;
    let eve = second_admin(&app, &admin).await;

    let (one, two) = join(deletes(&app, &admin, PASSWORD), deletes(&app, &eve, PASSWORD)).await;

    let (gone, stays) = if one.status == StatusCode::NO_CONTENT { (one, two) } else { (two, one) };
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
    stays.assert_refused(409, "last_admin");
    assert_eq!(messages(&app).await.len(), 1);
}

/// Holds the rows of the users with these names, until the transaction that it gives ends.
async fn hold<'a>(app: &'a TestApp, name: &str) -> Transaction<'a, Postgres> {
    let mut transaction = app.pool().begin().await.unwrap();
    let sql = "select id from users where email = $1 for update";
    sqlx::query(sql).bind(format!("{name}@example.org")).execute(&mut *transaction).await.unwrap();
    transaction
}

/// Waits until so many statements of this database wait for a row that somebody else holds.
pub(crate) async fn are_waiting(app: &TestApp, count: i64) {
    let sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    loop {
        let waiting: i64 = sqlx::query_scalar(sql).fetch_one(app.pool()).await.unwrap();
        if waiting >= count {
            return;
        }
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn active_admins(app: &TestApp) -> i64 {
    let sql = "select count(*) from users where role = 'admin' and status = 'active'";
    sqlx::query_scalar(sql).fetch_one(app.pool()).await.unwrap()
}

#[tokio::test]
async fn an_admin_who_deletes_the_account_disables_nobody_at_the_same_moment() {
    for change in [json!({ "status": "disabled" }), json!({ "role": "attendee" })] {
        let app = start().await;
        let admin = app.admin().await;
        let eve = second_admin(&app, &admin).await;
        let path = format!("/users/{}", id_of(&app, &eve).await);
        let held = hold(&app, "root").await;

        let first = deletes(&app, &admin, PASSWORD);
        let second = async {
            are_waiting(&app, 1).await;
            app.patch(&path, change.clone()).bearer(&admin).send().await
        };
        let release = async {
            are_waiting(&app, 2).await;
            held.rollback().await.unwrap();
        };
        let (deleted, changed, ()) = join3(first, second, release).await;

        assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{deleted:?}");
        changed.assert_refused(403, "role_required");
        assert_eq!(active_admins(&app).await, 1);
    }
}

#[tokio::test]
async fn an_admin_who_disables_the_other_one_at_the_same_moment_stays() {
    let app = start().await;
    let admin = app.admin().await;
    let eve = second_admin(&app, &admin).await;
    let path = format!("/users/{}", id_of(&app, &eve).await);
    let held = hold(&app, "root").await;

    let first = app.patch(&path, json!({ "status": "disabled" })).bearer(&admin).send();
    let second = async {
        are_waiting(&app, 1).await;
        deletes(&app, &admin, PASSWORD).await
    };
    let release = async {
        are_waiting(&app, 2).await;
        held.rollback().await.unwrap();
    };
    let (changed, deleted, ()) = join3(first, second, release).await;

    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    deleted.assert_refused(409, "last_admin");
    assert_eq!(active_admins(&app).await, 1);
}

#[tokio::test]
async fn of_two_admins_who_demote_each_other_at_once_one_stays() {
    let app = start().await;
    let admin = app.admin().await;
    let eve = second_admin(&app, &admin).await;
    let paths = [&admin, &eve].map(|session| async { format!("/users/{}", id_of(&app, session).await) });
    let [root_path, eve_path] = paths;
    let (root_path, eve_path) = join(root_path, eve_path).await;
    let demote = |path: &str, by| app.patch(path, json!({ "role": "attendee" })).bearer(by).send();

    let (one, two) = join(demote(&eve_path, &admin), demote(&root_path, &eve)).await;

    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 403], "{one:?} {two:?}");
    assert_eq!(active_admins(&app).await, 1);
}

#[tokio::test]
async fn an_account_deleted_twice_concurrently_is_deleted_once() {
    let app = start().await;
    let session = app.user("ada").await;

    let (one, two) = join(deletes(&app, &session, PASSWORD), deletes(&app, &session, PASSWORD)).await;

    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 401], "{one:?} {two:?}");
    assert_eq!(messages(&app).await.len(), 1);
}

#[tokio::test]
async fn an_organizer_with_coming_events_cannot_be_deleted() {
    let events = EventService::answers(list, Duration::ZERO).await;
    let app = events.platform().await;
    let session = app.user("ada").await;
    let id = id_of(&app, &session).await;

    deletes(&app, &session, PASSWORD).await.assert_refused(409, "events_to_come");

    assert_unchanged(&app, &session, "ada").await;
    let asked: Vec<_> = events.asked.lock().unwrap().iter().map(|(uri, _)| uri.to_string()).collect();
    assert_eq!(asked, [format!("/api/events?organizer_id={id}&limit=1")]);
}

#[tokio::test]
async fn nothing_is_deleted_while_event_service_is_unavailable() {
    for answer in [breakdown as fn() -> Response, refusal] {
        let app = EventService::answers(answer, Duration::ZERO).await.platform().await;
        let session = app.user("ada").await;
        deletes(&app, &session, PASSWORD).await.assert_refused(503, "event_service_unavailable");
        assert_unchanged(&app, &session, "ada").await;
    }
    let nobody_there = TestApp::start().await;
    let session = nobody_there.user("ada").await;

    let answer = deletes(&nobody_there, &session, PASSWORD).await;

    answer.assert_refused(503, "event_service_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert_unchanged(&nobody_there, &session, "ada").await;
}

#[tokio::test]
async fn the_messages_about_deleted_accounts_are_published_again() {
    let app = start().await;
    for name in ["ada", "bob", "eve"] {
        let session = app.user(name).await;
        assert_eq!(deletes(&app, &session, PASSWORD).await.status, StatusCode::NO_CONTENT);
    }
    app.registers("joe").await;
    let ids = "select coalesce(array_agg(id order by id), '{}') from outbox where published_at is null";
    let waiting = async || sqlx::query_scalar::<_, Vec<Uuid>>(ids).fetch_one(app.pool()).await.unwrap();
    let publish = async || sqlx::query("update outbox set published_at = now()").execute(app.pool()).await.unwrap();
    let at_first = waiting().await;

    let republished = app.state.store.republish_deletions(DateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!((republished, waiting().await), (3, at_first.clone()), "what waits is not doubled");

    publish().await;
    assert!(waiting().await.is_empty());
    app.state.store.republish_deletions(DateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!(waiting().await, at_first, "consumers recognize the message by its id");

    sqlx::query("delete from outbox").execute(app.pool()).await.unwrap();
    app.state.store.republish_deletions(DateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!((waiting().await, messages(&app).await.len()), (at_first, 3), "the purge of the outbox does not matter");
}

#[tokio::test]
async fn only_deletions_since_a_time_are_published_again() {
    let app = start().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let (before, after) = (id_of(&app, &ada).await, id_of(&app, &bob).await);
    for session in [&ada, &bob] {
        assert_eq!(deletes(&app, session, PASSWORD).await.status, StatusCode::NO_CONTENT);
    }
    let early = "update users set deleted_at = '2026-01-31T11:59:59Z' where to_jsonb(id) = $1";
    sqlx::query(early).bind(before).execute(app.pool()).await.unwrap();
    sqlx::query("delete from outbox").execute(app.pool()).await.unwrap();

    let since = "2026-01-31T12:00:00Z".parse().unwrap();
    let republished = app.state.store.republish_deletions(since).await.unwrap();

    assert_eq!(republished, 1);
    let messages = messages(&app).await;
    let [Message::UserDeleted(fact)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(json!(fact.user_id), after);
}
