//! Listing and marking as read.

use axum::{body::Body, http::StatusCode};
use chrono::TimeDelta;
use contracts::{
    identity::{Language, Role},
    message::{BookingFact, CancelReason, Message},
};
use serde_json::json;
use uuid::Uuid;

use crate::helpers::{TestApp, bearer_in, booking, event, holder, json, request, token};

#[tokio::test]
async fn the_notification_of_a_confirmed_booking_includes_its_price() {
    let app = TestApp::start().await;
    let id = app.confirms_booking(1, 17).await;

    let (status, list) = app.get(1, "/notifications/1").await;

    assert_eq!(status, StatusCode::OK);
    let expected = json!({
        "items": [{
            "id": id, "seq": 1, "type": "booking.confirmed", "booking_id": 17,
            "event_id": "0197c5a0-0000-7000-8000-000000000001", "title": "Booking confirmed",
            "body": "Your booking 17 (2 seats for “\u{2068}Jazz Night\u{2069}”) is confirmed. You paid €50.",
            "read_at": null, "created_at": "2026-03-01T12:00:00Z",
        }],
        "next_cursor": null,
        "unread_count": 1,
    });
    assert_eq!(list, expected);
    app.end().await;
}

#[tokio::test]
async fn notifications_are_in_the_language_of_the_account_even_if_it_changes_later() {
    let app = TestApp::start().await;
    app.confirms_booking(1, 17).await;
    let titles = async |language: Option<Language>, accepted: &str| {
        let mut request = request("GET", 1, "/notifications/1").header("accept-language", accepted);
        request.headers_mut().unwrap().insert("authorization", bearer_in(1, language));
        let (_, list) = json(app.send(request.body(Body::empty()).unwrap()).await).await;
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["title"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };

    assert_eq!(titles(Some(Language::De), "en").await, ["Buchung bestätigt"]);
    assert_eq!(titles(Some(Language::En), "de").await, ["Booking confirmed"]);
    assert_eq!(titles(None, "de-AT, en;q=0.5").await, ["Buchung bestätigt"]);
    assert_eq!(titles(None, "fr").await, ["Booking confirmed"]);
    app.end().await;
}

#[tokio::test]
async fn notifications_of_a_version_without_languages_are_still_listed() {
    let app = TestApp::start().await;
    let id = app.confirms_booking(1, 17).await;
    let stored = app.database.collection::<bson::Document>("notifications");
    let untranslated = bson::doc! { "$unset": { "translations": "" } };
    stored.update_one(bson::doc! { "_id": id.to_string() }, untranslated).await.unwrap();

    let mut request = request("GET", 1, "/notifications/1");
    request.headers_mut().unwrap().insert("authorization", bearer_in(1, Some(Language::De)));
    let (status, list) = json(app.send(request.body(Body::empty()).unwrap()).await).await;

    assert_eq!((status, &list["items"][0]["title"]), (StatusCode::OK, &json!("Booking confirmed")));
    app.end().await;
}

#[tokio::test]
async fn every_type_of_message_for_a_user_becomes_a_notification() {
    let app = TestApp::start().await;
    let messages = [
        Message::BookingConfirmed(booking(1, 1)),
        Message::BookingCancelled(BookingFact { reason: Some(CancelReason::ByAttendee), ..booking(1, 1) }),
        Message::BookingRefunded(booking(1, 1)),
        Message::BookingExpired(booking(1, 1)),
        Message::HolderEventChanged(holder(1)),
        Message::HolderEventCancelled(holder(1)),
    ];

    for message in messages {
        app.handles(Uuid::new_v4(), message).await.unwrap();
    }

    let (_, list) = app.get(1, "/notifications/1").await;
    let types: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
    let newest_first = [
        "event.cancelled",
        "event.changed",
        "booking.expired",
        "booking.refunded",
        "booking.cancelled",
        "booking.confirmed",
    ];
    assert_eq!(types, newest_first);
    app.end().await;
}

#[tokio::test]
async fn a_message_for_services_is_unsupported() {
    let app = TestApp::start().await;

    let refused = app.handles(Uuid::new_v4(), Message::EventChanged(event())).await;

    assert!(matches!(refused, Err(platform::bus::Failure::Unsupported(_))));
    app.end().await;
}

#[tokio::test]
async fn a_message_delivered_five_times_is_stored_once() {
    let app = TestApp::start().await;
    let id = Uuid::new_v4();

    for _ in 0..5 {
        app.handles(id, Message::BookingConfirmed(booking(1, 1))).await.unwrap();
    }

    let (_, list) = app.get(1, "/notifications/1").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["unread_count"], 1);
    app.end().await;
}

#[tokio::test]
async fn a_message_handled_by_two_replicas_at_once_is_stored_once() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let id = Uuid::new_v4();
    let message = || Message::BookingConfirmed(booking(1, 1));

    let (one, two, three, four) = tokio::join!(
        app.handles(id, message()),
        replica.handles(id, message()),
        app.handles(id, message()),
        replica.handles(id, message())
    );

    assert!([one, two, three, four].iter().all(Result::is_ok));
    let (_, list) = app.get(1, "/notifications/1").await;
    assert_eq!((list["items"].as_array().unwrap().len(), &list["unread_count"]), (1, &json!(1)));
    app.end().await;
}

#[tokio::test]
async fn concurrent_messages_of_one_user_get_sequence_numbers_without_gaps() {
    let app = TestApp::start().await;
    let handled = (1..=20).map(|booking_id| app.confirms_booking(1, booking_id));

    futures::future::join_all(handled).await;

    let (_, list) = app.get(1, "/notifications/1?limit=100").await;
    let sequence_numbers: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|item| item["seq"].as_i64().unwrap()).collect();
    assert_eq!(sequence_numbers, (1..=20).rev().collect::<Vec<_>>());
    app.end().await;
}

#[tokio::test]
async fn pages_have_no_gaps_or_repetitions() {
    let app = TestApp::start().await;
    for booking_id in 1..=5 {
        app.confirms_booking(1, booking_id).await;
    }

    let (_, first) = app.get(1, "/notifications/1?limit=2").await;
    // A new notification must not shift the pages.
    app.confirms_booking(1, 6).await;
    let next =
        |page: &serde_json::Value| format!("/notifications/1?limit=2&cursor={}", page["next_cursor"].as_str().unwrap());
    let (_, second) = app.get(1, &next(&first)).await;
    let (_, third) = app.get(1, &next(&second)).await;

    let bookings: Vec<_> = [&first, &second, &third]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap().iter().map(|item| item["booking_id"].as_i64().unwrap()))
        .collect();
    assert_eq!(bookings, [5, 4, 3, 2, 1]);
    assert_eq!(third["next_cursor"], json!(null));
    app.end().await;
}

#[tokio::test]
async fn marking_as_read_twice_keeps_the_first_time() {
    let app = TestApp::start().await;
    let first = app.confirms_booking(1, 1).await;
    app.confirms_booking(1, 2).await;
    let path = format!("/notifications/1/{first}/read");

    let (status, read) = app.post(1, &path, "").await;
    app.clock.advance(TimeDelta::minutes(5));
    let (_, again) = app.post(1, &path, "").await;

    assert_eq!(status, StatusCode::OK);
    assert_eq!(read["read_at"], "2026-03-01T12:00:00Z");
    assert_eq!(again, read);
    let (_, unread) = app.get(1, "/notifications/1?unread=true").await;
    let bookings: Vec<_> = unread["items"].as_array().unwrap().iter().map(|item| &item["booking_id"]).collect();
    assert_eq!((bookings, &unread["unread_count"]), (vec![&json!(2)], &json!(1)));
    app.end().await;
}

#[tokio::test]
async fn a_notification_marked_twenty_times_at_once_counts_once() {
    let app = TestApp::start().await;
    let id = app.confirms_booking(1, 1).await;
    app.confirms_booking(1, 2).await;
    let path = format!("/notifications/1/{id}/read");

    let answers = futures::future::join_all((0..20).map(|_| app.post(1, &path, ""))).await;

    assert!(answers.iter().all(|(status, _)| *status == StatusCode::OK), "{answers:?}");
    assert_eq!(app.get(1, "/notifications/1").await.1["unread_count"], 1);
    app.end().await;
}

#[tokio::test]
async fn notifications_up_to_a_sequence_number_are_marked_together() {
    let app = TestApp::start().await;
    for booking_id in 1..=4 {
        app.confirms_booking(1, booking_id).await;
    }

    let (_, some) = app.post(1, "/notifications/1/read-all", r#"{"up_to": 3}"#).await;
    let (_, all) = app.post(1, "/notifications/1/read-all", "").await;
    let (_, again) = app.post(1, "/notifications/1/read-all", "{}").await;

    assert_eq!([some, all, again], [1, 0, 0].map(|count| json!({ "unread_count": count })));
    assert_eq!(app.get(1, "/notifications/1?unread=true").await.1["items"], json!([]));
    app.end().await;
}

#[tokio::test]
async fn the_notifications_of_another_user_are_not_found_even_by_an_admin() {
    let app = TestApp::start().await;
    let theirs = app.confirms_booking(1, 1).await;
    let mine = app.confirms_booking(2, 2).await;
    let admin = token(2, Role::Admin, TimeDelta::minutes(10));
    let paths = [
        ("GET", "/notifications/1".to_owned()),
        ("GET", "/notifications/1/stream".to_owned()),
        ("POST", format!("/notifications/1/{theirs}/read")),
        ("POST", format!("/notifications/2/{theirs}/read")),
        ("POST", format!("/notifications/1/{mine}/read")),
        ("POST", "/notifications/1/read-all".to_owned()),
    ];

    for (method, path) in paths {
        let as_user = request(method, 2, &path).body(Body::empty()).unwrap();
        let as_admin = axum::http::Request::builder().method(method).uri(&path);
        let as_admin = as_admin.header("authorization", format!("Bearer {admin}")).body(Body::empty()).unwrap();
        for request in [as_user, as_admin] {
            let (status, problem) = json(app.send(request).await).await;
            assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("not_found")), "{method} {path}");
        }
    }

    assert_eq!(app.get(1, "/notifications/1").await.1["unread_count"], 1);
    app.end().await;
}

#[tokio::test]
async fn requests_without_a_valid_token_are_refused() {
    let app = TestApp::start().await;
    let expired = token(1, Role::Attendee, TimeDelta::minutes(-5));
    let request = |token: &str| {
        let request = axum::http::Request::builder().uri("/notifications/1");
        request.header("authorization", token).body(Body::empty()).unwrap()
    };

    for (token, code) in [
        (String::new(), "login_required"),
        ("Bearer nonsense".to_owned(), "invalid_token"),
        (format!("Bearer {expired}"), "token_expired"),
    ] {
        let (status, problem) = json(app.send(request(&token)).await).await;
        assert_eq!((status, problem["code"].as_str().unwrap()), (StatusCode::UNAUTHORIZED, code));
    }
    app.end().await;
}

#[tokio::test]
async fn a_session_cookie_is_accepted_from_its_own_origin_only() {
    let app = TestApp::start().await;
    app.confirms_booking(1, 1).await;
    let cookie = format!("evp8080_access={}", token(1, Role::Attendee, TimeDelta::minutes(10)));
    let request = |method: &str, path: &str, origin: Option<&str>| {
        let request = axum::http::Request::builder().method(method).uri(path).header("cookie", &cookie);
        let request = request.header("host", "localhost:8080");
        origin
            .map_or(request, |origin| {
                axum::http::request::Builder::new()
                    .method(method)
                    .uri(path)
                    .header("cookie", &cookie)
                    .header("host", "localhost:8080")
                    .header("origin", origin)
            })
            .body(Body::empty())
            .unwrap()
    };

    let read = app.send(request("GET", "/notifications/1", None)).await.status();
    let foreign = app.send(request("POST", "/notifications/1/read-all", Some("http://evil.example"))).await.status();
    let own = app.send(request("POST", "/notifications/1/read-all", Some("http://localhost:8080"))).await.status();

    assert_eq!((read, foreign, own), (StatusCode::OK, StatusCode::FORBIDDEN, StatusCode::OK));
    app.end().await;
}

#[tokio::test]
async fn invalid_requests_are_refused_with_a_code() {
    let app = TestApp::start().await;
    let gets = [
        ("/notifications/1?limit=0", "invalid_query"),
        ("/notifications/1?limit=101", "invalid_query"),
        ("/notifications/1?colour=red", "invalid_query"),
        ("/notifications/1?cursor=%21", "invalid_cursor"),
        ("/notifications/1/stream?last_event_id=x", "invalid_query"),
    ];
    let bodies = [(r#"{"up_to": "x"}"#, "invalid_json"), (r#"{"other": 1}"#, "invalid_json"), ("{", "invalid_json")];

    for (path, code) in gets {
        let (status, problem) = app.get(1, path).await;
        assert_eq!((status, problem["code"].as_str().unwrap()), (StatusCode::BAD_REQUEST, code), "{path}");
    }
    let (status, problem) = app.get(1, "/notifications/one").await;
    assert_eq!((status, problem["code"].as_str().unwrap()), (StatusCode::NOT_FOUND, "not_found"));
    for (body, code) in bodies {
        let (status, problem) = app.post(1, "/notifications/1/read-all", body).await;
        assert_eq!((status, problem["code"].as_str().unwrap()), (StatusCode::BAD_REQUEST, code), "{body}");
    }
    app.end().await;
}

#[tokio::test]
async fn marking_as_read_completes_after_the_client_disconnects() {
    let app = TestApp::start().await;
    let id = app.confirms_booking(1, 1).await;
    let path = format!("/notifications/1/{id}/read");

    let disconnecting = tokio::time::timeout(std::time::Duration::from_millis(1), app.post(1, &path, "")).await;

    drop(disconnecting);
    crate::helpers::wait_until("the notification is read", async || {
        app.get(1, "/notifications/1").await.1["unread_count"] == 0
    })
    .await;
    app.end().await;
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let app = TestApp::start().await;
    app.confirms_booking(1, 1).await;
    let before = app.schema().await;

    app.state.store.migrate().await.unwrap();

    assert_eq!(app.schema().await, before);
    assert_eq!(app.listed(1).await, [1]);
    app.end().await;
}

#[tokio::test]
async fn the_validator_refuses_an_invalid_document() {
    let app = TestApp::start().await;
    let invalid = bson::doc! { "_id": "x", "user_id": "nobody" };

    let refused = app.database.collection("notifications").insert_one(invalid).await;

    assert!(refused.unwrap_err().to_string().contains("121"));
    app.end().await;
}

#[tokio::test]
async fn migrating_updates_an_older_validator() {
    let app = TestApp::start().await;
    let wanted = app.schema().await;
    let older = bson::doc! { "collMod": "notifications", "validator": { "$jsonSchema": { "bsonType": "object" } } };
    app.database.run_command(older).await.unwrap();
    assert_ne!(app.schema().await, wanted);

    app.state.store.migrate().await.unwrap();

    assert_eq!(app.schema().await, wanted);
    app.end().await;
}
