//! Holding, confirming and releasing seats; repeated requests; expiry.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::reservation::{
    DEADLINE,
    ReservationState::{Confirmed, Held, Released},
};
use event_service::loops::sweeper;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::helpers::{EventAnswer, ORGANIZER, TestApp, text, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_takes_seats_and_returns_their_price() {
    let app = TestApp::start().await;
    let event = app.creates(&json!({ "capacity": 10, "price": 1999, "currency": "USD" })).await;
    let (id, reservation) = (text(&event["id"]), Uuid::new_v4());
    let before = app.app.state.store.now().await.unwrap();

    let hold = app.holds_for(&id, reservation, 3, 60).await;

    let expires_at: DateTime<Utc> = serde_json::from_value(hold.assert_ok()["expires_at"].clone()).unwrap();
    assert!((expires_at - before - TimeDelta::seconds(60)).abs() < TimeDelta::seconds(5));
    let mut expected = json!({
        "reservation_id": reservation, "seats": 3, "price": 1999, "currency": "USD", "event_title": "Concert",
        "starts_at": event["starts_at"], "time_zone": "Europe/Berlin", "organizer_id": ORGANIZER,
        "event_version": 1,
    });
    expected["expires_at"] = hold.body["expires_at"].clone();
    assert_eq!(hold.body, expected);
    assert_eq!(app.counters(&id).await, (7, 3, 0));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_hold_takes_no_more_seats() {
    let app = TestApp::start().await;
    let (id, reservation) = (app.sells(10).await, Uuid::new_v4());

    let first = app.holds(&id, reservation, 2).await;
    let second = app.holds(&id, reservation, 2).await;
    app.confirms(&id, reservation).await.assert_ok();
    let third = app.holds(&id, reservation, 2).await;

    assert_eq!(first.assert_ok(), second.assert_ok());
    assert_eq!(first.body, third.body);
    assert_eq!(app.counters(&id).await, (8, 0, 2));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_id_cannot_be_used_for_other_seats_or_another_event() {
    let app = TestApp::start().await;
    let (id, other, reservation) = (app.sells(10).await, app.sells(10).await, Uuid::new_v4());
    app.holds(&id, reservation, 2).await.assert_ok();

    app.holds(&id, reservation, 3).await.assert_refused(409, "reservation_mismatch");
    app.holds(&other, reservation, 2).await.assert_refused(409, "reservation_mismatch");
    app.confirms(&other, reservation).await.assert_refused(409, "reservation_mismatch");
    app.releases(&other, reservation, false).await.assert_refused(409, "reservation_mismatch");
    assert_eq!((app.counters(&id).await, app.counters(&other).await), ((8, 2, 0), (10, 0, 0)));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_refused_when_the_event_does_not_allow_it() {
    let app = TestApp::start().await;
    let (now, one) = (app.clock.now(), Uuid::new_v4);
    let small = app.sells(3).await;
    let late = app.creates(&json!({ "sales_end_at": now - TimeDelta::days(1) })).await;
    let early = app.creates(&json!({ "sales_start_at": now + TimeDelta::days(1) })).await;
    let begun = json!({ "starts_at": now - TimeDelta::hours(1), "ends_at": now + TimeDelta::hours(1) });
    let begun = app.creates(&begun).await;

    let sold_out = app.holds(&small, one(), 4).await;
    sold_out.assert_refused(409, "sold_out");
    assert_eq!(sold_out.body["detail"], "only 3 seats are left");
    app.holds(&small, one(), 11).await.assert_refused(422, "too_many_seats");
    app.holds(&text(&late["id"]), one(), 1).await.assert_refused(409, "sales_closed");
    app.holds(&text(&begun["id"]), one(), 1).await.assert_refused(409, "sales_closed");
    app.holds(&text(&early["id"]), one(), 1).await.assert_refused(409, "sales_not_open");
    app.holds("nothing", one(), 1).await.assert_refused(404, "event_not_found");
    assert_eq!(app.counters(&small).await, (3, 0, 0));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_hold_is_refused() {
    let app = TestApp::start().await;
    let id = app.sells(3).await;
    let path = format!("/api/events/{id}/decrease_capacity");
    let send = |body: Value| app.put(&path, &body).bearer(&app.booking_service()).send();

    let wrong = send(json!({ "reservation_id": Uuid::new_v4(), "seats": 0, "hold_seconds": 0 })).await;
    wrong.assert_refused(422, "invalid_request");
    assert_eq!(wrong.fields(), ["seats", "hold_seconds"]);
    let unknown = json!({ "reservation_id": Uuid::new_v4(), "seats": 1, "hold_seconds": 60, "price": 1 });
    send(unknown).await.assert_refused(400, "invalid_json");
    let negative = json!({ "reservation_id": Uuid::new_v4(), "seats": -1, "hold_seconds": 60 });
    send(negative).await.assert_refused(400, "invalid_json");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_cannot_be_committed_in_time_is_refused_and_takes_nothing() {
    let app = TestApp::start().await;
    let id = app.sells(10).await;
    let path = format!("/api/events/{id}/decrease_capacity");
    let body = json!({ "reservation_id": Uuid::new_v4(), "seats": 2, "hold_seconds": 900 });
    let hold =
        |milliseconds: &str| app.put(&path, &body).bearer(&app.booking_service()).header(DEADLINE, milliseconds).send();

    let late = hold("0").await;
    late.assert_refused(429, "overloaded");
    assert_eq!((late.header("retry-after"), app.counters(&id).await), ("2", (10, 0, 0)));
    hold("soon").await.assert_refused(400, "invalid_header");
    hold("30000").await.assert_ok();

    assert_eq!(app.counters(&id).await, (8, 2, 0));
    app.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn confirming_sells_the_seats_once() {
    let app = TestApp::start().await;
    let (id, reservation) = (app.sells(10).await, Uuid::new_v4());
    app.holds(&id, reservation, 2).await.assert_ok();

    assert_eq!(app.confirms(&id, reservation).await.state(), Confirmed);
    assert_eq!(app.confirms(&id, reservation).await.state(), Confirmed);

    assert_eq!(app.counters(&id).await, (8, 0, 2));
    app.confirms(&id, Uuid::new_v4()).await.assert_refused(404, "reservation_not_found");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_reservation_never_comes_back() {
    let app = TestApp::start().await;
    let (id, held, sold) = (app.sells(10).await, Uuid::new_v4(), Uuid::new_v4());
    app.holds(&id, held, 2).await.assert_ok();
    app.holds(&id, sold, 3).await.assert_ok();
    app.confirms(&id, sold).await.assert_ok();

    for reservation in [held, sold] {
        assert_eq!(app.releases(&id, reservation, false).await.state(), Released);
        assert_eq!(app.releases(&id, reservation, false).await.state(), Released);
        app.confirms(&id, reservation).await.assert_refused(409, "reservation_released");
        app.holds(&id, reservation, 2).await.assert_refused(409, "reservation_released");
    }
    assert_eq!(app.counters(&id).await, (10, 0, 0));
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn releasing_an_unknown_reservation_refuses_a_late_hold() {
    let app = TestApp::start().await;
    let (id, reservation) = (app.sells(10).await, Uuid::new_v4());

    let released = app.releases(&id, reservation, true).await;

    assert_eq!((released.state(), &released.body["expires_at"]), (Released, &Value::Null));
    app.holds(&id, reservation, 2).await.assert_refused(409, "reservation_released");
    assert_eq!(app.releases("nothing", Uuid::new_v4(), false).await.state(), Released);
    assert_eq!(app.counters(&id).await, (10, 0, 0));
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_expired_releases_neither_active_holds_nor_sold_seats() {
    let app = TestApp::start().await;
    let (id, held, sold, short) = (app.sells(10).await, Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    app.holds(&id, held, 1).await.assert_ok();
    app.holds_for(&id, sold, 1, 1).await.assert_ok();
    app.confirms(&id, sold).await.assert_ok();
    app.holds_for(&id, short, 1, 1).await.assert_ok();

    assert_eq!(app.releases(&id, held, true).await.state(), Held);
    wait_until("the short hold expires", async || app.releases(&id, short, true).await.state() == Released).await;
    assert_eq!(app.releases(&id, sold, true).await.state(), Confirmed);
    assert_eq!(app.counters(&id).await, (8, 1, 1));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweeper_releases_expired_holds() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let (id, other) = (app.sells(10).await, app.sells(5).await);
    for event in [&id, &id, &other] {
        app.holds_for(event, Uuid::new_v4(), 2, 1).await.assert_ok();
    }
    app.holds(&id, Uuid::new_v4(), 1).await.assert_ok();

    app.app.spawn();
    replica.app.spawn();

    wait_until("the expired holds are released", async || {
        app.counters(&id).await == (9, 1, 0) && app.counters(&other).await == (5, 0, 0)
    })
    .await;
    app.assert_sound().await;
    replica.app.lifecycle.stop();
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_round_of_the_sweeper_finds_nothing() {
    let app = TestApp::start().await;
    let id = app.sells(10).await;
    app.holds_for(&id, Uuid::new_v4(), 2, 1).await.assert_ok();
    let state = &app.app.state;

    wait_until("the hold is released", async || sweeper::release_expired_holds(state).await.unwrap() == 1).await;

    assert_eq!(sweeper::release_expired_holds(state).await.unwrap(), 0);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_booking_service_reads_the_ledger_page_by_page() {
    let app = TestApp::start().await;
    let (id, free) = (app.sells(10).await, app.sells(10).await);
    let mut reservations = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    reservations.sort();
    app.holds(&id, reservations[0], 1).await.assert_ok();
    app.confirms(&id, reservations[0]).await.assert_ok();
    app.holds(&free, reservations[1], 2).await.assert_ok();
    app.releases(&id, reservations[2], false).await.assert_ok();

    let page = |query: &str| app.get(&format!("/api/events/reservations?{query}")).bearer(&app.booking_service());
    let first = page("limit=2").send().await;
    let second = page(&format!("limit=2&after={}", reservations[1])).send().await;

    let entry = |n: usize, event: &str, seats: u32, state: &str| json!({ "reservation_id": reservations[n], "event_id": event, "seats": seats, "state": state });
    let items = [entry(0, &id, 1, "confirmed"), entry(1, &free, 2, "held")];
    assert_eq!(first.assert_ok(), &json!({ "items": items, "next_after": reservations[1] }));
    assert_eq!(second.assert_ok(), &json!({ "items": [entry(2, &id, 0, "released")], "next_after": null }));
    page("limit=0").send().await.assert_refused(400, "invalid_query");
    let asked = app.get("/api/events/reservations?limit=2").bearer(&app.organizer()).send().await;
    asked.assert_refused(403, "service_only");
    app.end().await;
}
