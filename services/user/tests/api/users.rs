//! Oneself, and what admins see and change.

use axum::http::StatusCode;
use futures::future::{join, join_all};
use serde_json::json;
use user_service::loops::first_admin::FirstAdmin;

use crate::{
    deletion::{active_admins, are_waiting},
    helpers::{PASSWORD, TestApp},
};

#[tokio::test]
async fn an_admin_pages_through_all_users() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let mut expected = vec!["root@example.org".to_owned()];
    for name in ["ada", "bob", "eve", "joe"] {
        app.registers(name).await;
        expected.push(format!("{name}@example.org"));
    }

    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/users?limit=2{cursor}")).bearer(&admin).send().await;
        assert_eq!(page.status, StatusCode::OK, "{page:?}");
        seen.extend(
            page.body["items"].as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap().to_owned()),
        );
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }

    assert_eq!(seen, expected);
}

#[tokio::test]
async fn the_list_of_users_is_for_admins_and_its_query_is_validated() {
    let app = TestApp::start().await;
    let (ada, admin) = (app.user("ada").await, app.admin().await);

    app.get("/users").send().await.assert_refused(401, "login_required");
    app.get("/users?limit=x").bearer(&ada).send().await.assert_refused(403, "role_required");
    app.get("/users?limit=0").bearer(&admin).send().await.assert_refused(400, "invalid_query");
    app.get("/users?status=odd").bearer(&admin).send().await.assert_refused(400, "invalid_query");
    app.get("/users?page=2").bearer(&admin).send().await.assert_refused(400, "invalid_query");
    app.get("/users?cursor=x").bearer(&admin).send().await.assert_refused(400, "invalid_cursor");
}

#[tokio::test]
async fn a_disabled_user_is_locked_out_immediately_and_can_be_enabled_again() {
    let app = TestApp::start().await;
    let id = app.registers("ada").await;
    let (ada, admin) = (app.logs_in("ada").await, app.admin().await);
    let path = format!("/users/{id}");

    let disabled = app.patch(&path, json!({ "status": "disabled" })).bearer(&admin).send().await;

    assert_eq!((disabled.status, &disabled.body["status"]), (StatusCode::OK, &json!("disabled")));
    app.get("/users/me").bearer(&ada).send().await.assert_refused(401, "session_over");
    app.refreshes(&ada.refresh).await.assert_refused(401, "session_over");
    app.tries("ada", "wrong password").await.assert_refused(401, "invalid_credentials");
    let listed = app.get("/users?status=disabled").bearer(&admin).send().await;
    assert_eq!(listed.body["items"][0]["id"], json!(id));
    app.tries("ada", PASSWORD).await.assert_refused(403, "account_disabled");
    app.patch(&path, json!({ "status": "active" })).bearer(&admin).send().await;
    app.logs_in("ada").await;
}

#[tokio::test]
async fn only_admins_change_users_and_never_themselves() {
    let app = TestApp::start().await;
    let id = app.registers("ada").await;
    let (ada, admin) = (app.logs_in("ada").await, app.admin().await);
    let path = format!("/users/{id}");
    let root = app.get("/users/me").bearer(&admin).send().await.body["id"].clone();

    app.patch(&path, json!({ "role": "admin" })).send().await.assert_refused(401, "login_required");
    app.patch(&path, json!({ "role": "admin" })).bearer(&ada).send().await.assert_refused(403, "role_required");
    app.patch("/users/999999", json!(1)).bearer(&admin).send().await.assert_refused(404, "user_not_found");
    app.patch("/users/x", json!({})).bearer(&admin).send().await.assert_refused(404, "not_found");
    app.patch(&path, json!({ "email": "x" })).bearer(&admin).send().await.assert_refused(400, "invalid_json");
    let own = app.patch(&format!("/users/{root}"), json!({ "role": "attendee" })).bearer(&admin).send().await;
    own.assert_refused(409, "own_account");
    let same = app.patch(&path, json!({})).bearer(&admin).send().await;
    assert_eq!((same.status, &same.body["role"]), (StatusCode::OK, &json!("attendee")));
}

#[tokio::test]
async fn a_demoted_admin_is_refused_immediately() {
    let app = TestApp::start().await;
    let id = app.registers("eve").await;
    let admin = app.admin().await;
    let path = format!("/users/{id}");
    app.patch(&path, json!({ "role": "admin" })).bearer(&admin).send().await;
    let eve = app.logs_in("eve").await;
    assert_eq!(app.get("/users").bearer(&eve).send().await.status, StatusCode::OK);

    app.patch(&path, json!({ "role": "attendee" })).bearer(&admin).send().await;

    app.get("/users").bearer(&eve).send().await.assert_refused(403, "role_required");
    let me = app.get("/users/me").bearer(&eve).send().await;
    assert_eq!(me.body["role"], "attendee", "the token still says admin");
}

#[tokio::test]
async fn the_first_admin_is_created_once_and_never_overwritten() {
    let app = TestApp::start().await;
    app.admin().await;

    let again = FirstAdmin::parse("root@example.org", "a different password").unwrap();
    again.create(&app.state).await.unwrap();

    app.logs_in("root").await;
    app.tries("root", "a different password").await.assert_refused(401, "invalid_credentials");
}

#[tokio::test]
async fn another_first_admin_is_created_only_while_no_admin_is_active() {
    let app = TestApp::start().await;
    app.admin().await;
    let other = FirstAdmin::parse("other@example.org", PASSWORD).unwrap();

    other.create(&app.state).await.unwrap();
    app.tries("other", PASSWORD).await.assert_refused(401, "invalid_credentials");
    sqlx::query("update users set status = 'disabled'").execute(app.pool()).await.unwrap();
    other.create(&app.state).await.unwrap();

    app.logs_in("other").await;
}

#[tokio::test]
async fn of_several_first_admins_at_the_same_moment_one_is_created() {
    let app = TestApp::start().await;
    let admins =
        ["root", "eve", "joe"].map(|name| FirstAdmin::parse(&format!("{name}@example.org"), PASSWORD).unwrap());
    let mut held = app.pool().begin().await.unwrap();
    sqlx::query("lock table users in share row exclusive mode").execute(&mut *held).await.unwrap();

    let creating = join_all(admins.iter().map(|admin| admin.create(&app.state)));
    let release = async {
        are_waiting(&app, 3).await;
        held.rollback().await.unwrap();
    };
    let (created, ()) = join(creating, release).await;

    assert!(created.iter().all(Result::is_ok), "{created:?}");
    assert_eq!(active_admins(&app).await, 1);
}

#[tokio::test]
async fn a_user_who_registered_the_admins_address_first_does_not_become_an_admin() {
    let app = TestApp::start().await;
    let eve = app.user("eve").await;

    let admin = FirstAdmin::parse("EVE@example.org", "a different password").unwrap();
    admin.create(&app.state).await.unwrap();

    let me = app.get("/users/me").bearer(&eve).send().await;
    assert_eq!(me.body["role"], "attendee");
}

#[tokio::test]
async fn the_description_names_every_url() {
    let app = TestApp::start().await;

    let answer = app.get("/users/openapi.json").send().await;

    assert_eq!(answer.body["openapi"], "3.1.0");
    let paths: Vec<_> = answer.body["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    for path in ["/users/register", "/users/login", "/users/{id}", "/users/events", "/.well-known/jwks.json"] {
        assert!(paths.contains(&path), "{paths:?}");
    }
    assert!(answer.body["paths"]["/users/register"]["post"]["responses"].get("201").is_some());
}
