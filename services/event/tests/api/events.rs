//! Creating, reading, changing, cancelling and deleting events.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::identity::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::helpers::{EventAnswer, ORGANIZER, TestApp, text};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_read_as_it_was_created() {
    let app = TestApp::start().await;
    let sales_end = app.clock.now() + TimeDelta::days(20);
    let created = app
        .creates(&json!({
            "title": "  Jazz  ", "currency": "eur", "category": "music", "image_url": "https://example.org/a.png",
            "sales_end_at": sales_end, "max_seats_per_booking": 4, "capacity": 12,
        }))
        .await;

    let read = app.get(&format!("/api/events/{}", text(&created["id"]))).send().await;

    assert_eq!(read.assert_ok(), &created);
    for (field, value) in [
        ("title", json!("Jazz")),
        ("currency", json!("EUR")),
        ("category", json!("music")),
        ("capacity", json!(12)),
        ("available", json!(12)),
        ("max_seats_per_booking", json!(4)),
        ("status", json!("published")),
        ("organizer_id", json!(ORGANIZER)),
        ("sales_start_at", Value::Null),
    ] {
        assert_eq!(created[field], value, "{field}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_invalid_fields_are_reported_at_once() {
    let app = TestApp::start().await;
    let past = app.clock.now() - TimeDelta::days(1);
    let wrong = app.concert(&json!({
        "title": " ", "description": "x".repeat(5_001), "venue": "a\nb", "time_zone": "Europe/Atlantis",
        "starts_at": past, "ends_at": past, "capacity": -1, "price": -5, "currency": "XXX", "category": "x".repeat(51),
        "image_url": "javascript:alert(1)", "sales_start_at": past + TimeDelta::hours(1), "max_seats_per_booking": 101,
    }));

    let answer = app.post("/api/events", &wrong).bearer(&app.organizer()).send().await;

    answer.assert_refused(422, "invalid_request");
    let mut fields = answer.fields();
    fields.sort_unstable();
    fields.dedup();
    let expected = [
        "capacity",
        "category",
        "currency",
        "description",
        "ends_at",
        "image_url",
        "max_seats_per_booking",
        "price",
        "sales_start_at",
        "time_zone",
        "title",
        "venue",
    ];
    assert_eq!(fields, expected);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_under_one_key_makes_one_event() {
    let app = TestApp::start().await;
    let new = app.concert(&json!({}));
    let create =
        |body: &Value| app.post("/api/events", body).bearer(&app.organizer()).header("idempotency-key", "k1").send();

    let answers = futures::future::join_all((0..10).map(|_| create(&new))).await;
    let reused = create(&app.concert(&json!({ "title": "Another" }))).await;

    for answer in &answers {
        assert_eq!((answer.status.as_u16(), &answer.body), (201, &answers[0].body));
    }
    reused.assert_refused(422, "idempotency_key_reused");
    let listed = app.get("/api/events").send().await;
    assert_eq!(listed.titles(), ["Concert"]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_a_crash_creates_the_same_event() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let id = Uuid::new_v4().to_string();
    let body: event_service::routes::NewEvent = serde_json::from_value(app.concert(&json!({}))).unwrap();
    let made = |body: event_service::routes::NewEvent| body.into_event(id.clone(), ORGANIZER, now).unwrap();

    let first = app.app.state.store.insert_event(made(body.clone())).await.unwrap();
    let second = app.app.state.store.insert_event(made(body)).await.unwrap();

    assert_eq!(first, second);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_event_is_404() {
    let app = TestApp::start().await;

    app.get("/api/events/nothing").send().await.assert_refused(404, "event_not_found");
    app.edits("nothing", &json!({ "title": "x" })).await.assert_refused(404, "event_not_found");
    app.delete("/api/events/nothing").bearer(&app.organizer()).send().await.assert_refused(404, "event_not_found");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_changes_only_the_given_fields_and_null_clears() {
    let app = TestApp::start().await;
    let created = app.creates(&json!({ "category": "music", "capacity": 10 })).await;
    let id = text(&created["id"]);

    let changed = app.edits(&id, &json!({ "category": null, "capacity": 15, "title": "Opera" })).await;

    let mut expected = created.clone();
    expected["category"] = Value::Null;
    (expected["capacity"], expected["available"], expected["title"]) = (json!(15), json!(15), json!("Opera"));
    (expected["version"], expected["updated_at"]) = (json!(2), changed.assert_ok()["updated_at"].clone());
    assert_eq!(changed.body, expected);
    assert_eq!(app.get(&format!("/api/events/{id}")).send().await.body, expected);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_follows_the_same_rules_as_a_new_event() {
    let app = TestApp::start().await;
    let created = app.creates(&json!({})).await;
    let id = text(&created["id"]);
    let start: DateTime<Utc> = serde_json::from_value(created["starts_at"].clone()).unwrap();

    let answer = app.edits(&id, &json!({ "ends_at": start, "capacity": 0, "price": 100_000_001 })).await;

    answer.assert_refused(422, "invalid_request");
    assert_eq!(answer.fields(), ["capacity", "price", "ends_at"]);
    let past = json!({ "starts_at": start - TimeDelta::days(60), "ends_at": start - TimeDelta::days(59) });
    assert_eq!(app.edits(&id, &past).await.fields(), ["starts_at", "ends_at"]);
    let dear = json!({ "price": 99_999_999, "max_seats_per_booking": 2 });
    assert_eq!(app.edits(&id, &dear).await.fields(), ["price"]);
    app.edits(&id, &json!({ "organizer_id": 9 })).await.assert_refused(400, "invalid_json");
    assert_eq!(app.event(&id).await.version, 1);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_stored_under_older_rules_stay_and_the_event_can_be_cancelled() {
    let app = TestApp::start().await;
    let events = app.database.collection::<bson::Document>("events");
    let old = bson::doc! { "$set": {
        "time_zone": "Atlantis/Capital", "currency": "DEM", "title": "Jazz\u{202e}", "image_url": "http://example.org/a",
        "price": 1_000_000_000_i64,
    } };
    let (edited, cancelled, deleted) = (app.sells(10).await, app.sells(10).await, app.sells(10).await);
    for id in [&edited, &cancelled, &deleted] {
        app.holds(id, Uuid::new_v4(), 1).await.assert_ok();
    }
    events.update_many(bson::doc! {}, old).await.unwrap();

    let changed = app.edits(&edited, &json!({ "venue": "Elsewhere", "capacity": 20 })).await;
    let ended = app.edits(&cancelled, &json!({ "status": "cancelled" })).await;
    let gone = app.delete(&format!("/api/events/{deleted}")).bearer(&app.organizer()).send().await;

    assert_eq!(changed.assert_ok()["time_zone"], "Atlantis/Capital");
    assert_eq!(ended.assert_ok()["status"], "cancelled");
    assert_eq!(gone.assert_ok()["status"], "cancelled");
    for (field, value) in
        [("currency", "XXX"), ("time_zone", "Mars"), ("title", "\u{202e}"), ("image_url", "http://a.b")]
    {
        let refused = app.edits(&edited, &json!({ field: value })).await;
        refused.assert_refused(422, "invalid_request");
        assert_eq!(refused.fields(), [field]);
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_the_payment_provider_cannot_charge_is_refused() {
    let app = TestApp::with_options(&["--payment-provider=stripe"]).await;
    let create = async |price: i64, currency: &str| {
        let event = app.concert(&json!({ "price": price, "currency": currency }));
        app.post("/api/events", &event).bearer(&app.organizer()).send().await
    };

    for (price, currency) in [(5124, "KWD"), (1050, "MGA"), (1000, "CUP"), (49, "EUR")] {
        let refused = create(price, currency).await;
        refused.assert_refused(422, "invalid_request");
        assert_eq!(refused.fields(), ["price"], "{price} {currency}");
    }
    for (price, currency) in [(0, "CUP"), (5120, "KWD"), (500, "ISK"), (5000, "UGX"), (500_000, "MGA")] {
        assert_eq!(create(price, currency).await.status.as_u16(), 201, "{price} {currency}");
    }
    let id = text(&create(5120, "KWD").await.body["id"]);
    assert_eq!(app.edits(&id, &json!({ "price": 5121 })).await.fields(), ["price"]);
    app.edits(&id, &json!({ "title": "Unchanged price" })).await.assert_ok();
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_is_stored_by_its_canonical_name_and_an_alias_is_no_change() {
    let app = TestApp::start().await;
    let created = app.creates(&json!({ "time_zone": "Asia/Calcutta" })).await;
    let id = text(&created["id"]);
    let events = app.database.collection::<bson::Document>("events");
    events.update_one(bson::doc! {}, bson::doc! { "$set": { "time_zone": "Asia/Calcutta" } }).await.unwrap();
    app.holds(&id, Uuid::new_v4(), 1).await.assert_ok();

    let renamed = app.edits(&id, &json!({ "time_zone": "asia/kolkata" })).await;

    assert_eq!(
        (&created["time_zone"], &renamed.assert_ok()["time_zone"]),
        (&json!("Asia/Kolkata"), &json!("Asia/Kolkata"))
    );
    let messages = app.database.collection::<bson::Document>("outbox").count_documents(bson::doc! {}).await.unwrap();
    assert_eq!(messages, 0, "the same zone by another name");
    let zones = app.get("/api/events/time_zones").send().await;
    assert_eq!(zones.assert_ok()["aliases"]["Asia/Calcutta"], "Asia/Kolkata");
    assert!(zones.body["items"].as_array().unwrap().contains(&json!("Europe/Oslo")));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_with_invisible_characters_are_refused() {
    let app = TestApp::start().await;

    for (field, value) in [
        ("title", "Jazz\u{202e}night"),
        ("title", "\u{3164}"),
        ("venue", "\u{2800}\u{2800}"),
        ("venue", "Town\u{200b}Hall"),
        ("category", "mu\u{ad}sic"),
        ("description", "See\n\u{2066}you"),
    ] {
        let answer =
            app.post("/api/events", &app.concert(&json!({ field: value }))).bearer(&app.organizer()).send().await;
        answer.assert_refused(422, "invalid_request");
        assert_eq!(answer.fields(), [field], "{}", value.escape_unicode());
    }
    app.creates(&json!({ "title": "👩🏽\u{200d}🚀 می\u{200c}خواهم", "description": "1\u{fe0f}\u{20e3}\r\n\tℹ\u{fe0f}" }))
        .await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_capacity_never_goes_below_the_taken_seats() {
    let app = TestApp::start().await;
    let id = app.sells(10).await;
    let sold = Uuid::new_v4();
    app.holds(&id, sold, 3).await.assert_ok();
    app.confirms(&id, sold).await.assert_ok();
    app.holds(&id, Uuid::new_v4(), 4).await.assert_ok();

    app.edits(&id, &json!({ "capacity": 6 })).await.assert_refused(409, "capacity_below_sold");
    let fits = app.edits(&id, &json!({ "capacity": 7 })).await;

    assert_eq!(fits.assert_ok()["available"], 0);
    assert_eq!(app.counters(&id).await, (0, 4, 3));
    app.holds(&id, Uuid::new_v4(), 1).await.assert_refused(409, "sold_out");
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_becomes_a_draft_again_only_while_no_seat_is_taken() {
    let app = TestApp::start().await;
    let id = app.sells(10).await;
    let draft = json!({ "status": "draft" });

    assert_eq!(app.edits(&id, &draft).await.assert_ok()["status"], "draft");
    assert_eq!(app.edits(&id, &json!({ "status": "published" })).await.assert_ok()["status"], "published");
    app.holds(&id, Uuid::new_v4(), 1).await.assert_ok();
    app.edits(&id, &draft).await.assert_refused(409, "seats_taken");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_event_stays_cancelled_and_readable() {
    let app = TestApp::start().await;
    let id = app.sells(10).await;
    let reservation = Uuid::new_v4();
    app.holds(&id, reservation, 2).await.assert_ok();
    let cancel = json!({ "status": "cancelled" });

    assert_eq!(app.edits(&id, &cancel).await.assert_ok()["status"], "cancelled");
    assert_eq!(app.edits(&id, &cancel).await.assert_ok()["status"], "cancelled", "once more changes nothing");
    app.edits(&id, &json!({ "status": "published" })).await.assert_refused(409, "event_cancelled");
    app.edits(&id, &json!({ "title": "Back" })).await.assert_refused(409, "event_cancelled");
    app.confirms(&id, reservation).await.assert_refused(409, "event_cancelled");
    app.holds(&id, Uuid::new_v4(), 1).await.assert_refused(409, "event_cancelled");
    assert_eq!(app.get(&format!("/api/events/{id}")).send().await.assert_ok()["status"], "cancelled");
    assert!(app.get("/api/events").send().await.titles().is_empty());
    app.releases(&id, reservation, false).await.assert_ok();
    assert_eq!(app.counters(&id).await, (10, 0, 0));
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_bookings_is_deleted() {
    let app = TestApp::start().await;
    let id = app.sells(10).await;
    let reservation = Uuid::new_v4();
    app.holds(&id, reservation, 2).await.assert_ok();
    app.releases(&id, reservation, false).await.assert_ok();
    let path = format!("/api/events/{id}");

    let deleted = app.delete(&path).bearer(&app.organizer()).send().await;

    assert_eq!((deleted.status.as_u16(), &deleted.body), (204, &Value::Null));
    app.get(&path).send().await.assert_refused(404, "event_not_found");
    app.holds(&id, Uuid::new_v4(), 1).await.assert_refused(404, "event_not_found");
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_past_or_present_bookings_is_cancelled_instead_of_deleted() {
    let app = TestApp::start().await;
    let (held, once_sold) = (app.sells(10).await, app.sells(10).await);
    app.holds(&held, Uuid::new_v4(), 2).await.assert_ok();
    let reservation = Uuid::new_v4();
    app.holds(&once_sold, reservation, 2).await.assert_ok();
    app.confirms(&once_sold, reservation).await.assert_ok();
    app.releases(&once_sold, reservation, false).await.assert_ok();

    for id in [held, once_sold] {
        let answer = app.delete(&format!("/api/events/{id}")).bearer(&app.token(1, Role::Admin)).send().await;
        assert_eq!(answer.assert_ok()["status"], "cancelled");
    }
    app.end().await;
}
