//! Attendees and sales for organizers.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use booking_service::loops::backfill;
use chrono::NaiveDate;
use contracts::{identity::Role, message::Message};
use platform::page::encode_cursor;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    helpers::{ALICE, Answer, TestApp},
    neighbours::{Fault, ORGANIZER},
};

impl TestApp {
    /// A response to the organizer of every event.
    async fn organizer_gets(&self, path: &str) -> Answer {
        self.get(path).bearer(&self.token_as(ORGANIZER, Role::Organizer)).send().await
    }

    /// The lines of an event's export.
    async fn export(&self, event: &str, query: &str) -> Vec<String> {
        let path = format!("/bookings/events/{event}/attendees.csv{query}");
        let call = self.get(&path).bearer(&self.token_as(ORGANIZER, Role::Organizer));
        let (parts, body) = call.send_raw().await;
        assert_eq!(parts.status, StatusCode::OK);
        assert_eq!(parts.headers["content-type"], "text/csv; charset=utf-8; header=present");
        assert_eq!(parts.headers["content-disposition"], format!("attachment; filename=\"attendees-{event}.csv\""));
        let text = String::from_utf8(body.to_vec()).unwrap();
        text.strip_suffix("\r\n").unwrap().split("\r\n").map(str::to_owned).collect()
    }

    /// A user books, and pays unless it is free; the booking id.
    async fn sells(&self, user_id: i32, event: &str, seats: i64) -> i32 {
        let booked = self.booking_request(user_id, event, seats).send().await;
        if booked.body["status"] == "Pending" {
            let paid = self.payment_request(user_id, booked.id(), "pm_card_visa").send().await;
            assert_eq!(paid.status, StatusCode::CREATED, "{paid:?}");
        }
        booked.id()
    }
}

fn ids(answer: &Answer) -> Vec<i64> {
    let items = answer.body["items"].as_array().unwrap_or_else(|| panic!("{answer:?}"));
    items.iter().map(|item| item["booking_id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn attendees_are_the_confirmed_bookings_newest_first_in_pages() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 1250);
    let mut sold = Vec::new();
    for user in 20..23 {
        sold.push(i64::from(app.sells(user, &event, 2).await));
    }
    app.books(&event, 1).await;
    app.sells(ALICE, &app.neighbours.event(10, 1250), 1).await;
    let path = format!("/bookings/events/{event}/attendees");

    let all = app.organizer_gets(&path).await;
    let first = app.organizer_gets(&format!("{path}?limit=2")).await;
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = app.organizer_gets(&format!("{path}?limit=2&cursor={cursor}")).await;

    assert_eq!(ids(&all), [sold[2], sold[1], sold[0]]);
    assert_eq!((ids(&first), ids(&second)), (vec![sold[2], sold[1]], vec![sold[0]]));
    assert_eq!(second.body["next_cursor"], Value::Null);
    let booked = all.body["items"][0]["created_at"].clone();
    let newest = json!({
        "booking_id": sold[2], "name": "User 22", "email": "user22@example.org", "seats": 2, "amount": 2500,
        "currency": "EUR", "status": "Confirmed", "created_at": booked,
    });
    assert_eq!(all.body["items"][0], newest);
}

#[tokio::test]
async fn a_search_finds_parts_of_names_and_emails_in_any_case_and_booking_ids() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 0);
    let (anna, bert) = (app.sells(20, &event, 1).await, app.sells(21, &event, 1).await);
    app.execute("update bookings set user_name = 'Anna 100%', user_email = 'a_b@example.org' where user_id = 20").await;
    app.execute("update bookings set user_name = 'BERT Öz', user_email = 'axb@example.org' where user_id = 21").await;
    let found = async |search: &str| {
        ids(&app.organizer_gets(&format!("/bookings/events/{event}/attendees?search={search}")).await)
    };

    assert_eq!(found("nna%20").await, [i64::from(anna)]);
    assert_eq!(found("bert").await, [i64::from(bert)]);
    assert_eq!(found("a_B").await, [i64::from(anna)]);
    assert_eq!(found("%25").await, [i64::from(anna)]);
    assert_eq!(found("EXAMPLE").await, [i64::from(bert), i64::from(anna)]);
    assert_eq!(found(&bert.to_string()).await, [i64::from(bert)]);
    assert!(found("nobody").await.is_empty());
    assert!(found("(").await.is_empty(), "a parenthesis is part of no name");
    assert!(found("%CC%81").await.is_empty(), "an accent alone is no search");
    let path = format!("/bookings/events/{event}/attendees?search={}", "x".repeat(201));
    app.organizer_gets(&path).await.assert_refused(400, "invalid_query");
}

#[tokio::test]
async fn a_search_ignores_accents_and_case() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 0);
    let (zoe, booked) = (i64::from(app.sells(20, &event, 1).await), i64::from(app.sells(21, &event, 1).await));
    let found = async |search: &str| {
        ids(&app.organizer_gets(&format!("/bookings/events/{event}/attendees?search={search}")).await)
    };
    // As a replica of an older version writes: without a key, which a change of the name takes away.
    app.execute("update bookings set user_name = 'Zoe\u{308} Ørsted-Weiß' where user_id = 20").await;
    let keyless = "select count(*) from bookings where attendee_key is null";
    let waiting: i64 = sqlx::query_scalar(keyless).fetch_one(&app.pool).await.unwrap();
    assert_eq!((found("rsted").await, found("21").await.len(), waiting), (vec![zoe], 1, 1), "before it has a key");

    let made = backfill::attendee_keys(&app.state().store, 100).await.unwrap();
    let again = backfill::attendee_keys(&app.state().store, 100).await.unwrap();

    assert_eq!((made, again), (1, 0));
    for search in ["zo%C3%AB", "ZOE", "orsted", "weiss", "weiss%20zoe", "%EF%BC%BA%EF%BD%8F%EF%BD%85"] {
        assert_eq!(found(search).await, [zoe], "{search}");
    }
    assert_eq!(found("user21").await, [booked], "a new booking has its key at once");
    let with_key = "select count(*) from bookings where attendee_key is not null";
    let keyed: i64 = sqlx::query_scalar(with_key).fetch_one(&app.pool).await.unwrap();
    assert_eq!(keyed, 2);
}

#[tokio::test]
async fn sales_by_day_do_not_depend_on_the_databases_time_zones() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 1000);
    for user in 20..22 {
        app.sells(user, &event, 1).await;
    }
    app.execute("update bookings set created_at = '2026-05-01 18:29:59' where user_id = 20").await;
    app.execute("update bookings set created_at = '2026-05-01 18:30:00' where user_id = 21").await;

    for (zone, told, expected) in [
        ("Asia/Calcutta", "Asia/Calcutta", vec!["2026-05-01", "2026-05-02"]),
        ("Atlantis/Capital", "UTC", vec!["2026-05-01"]),
    ] {
        app.neighbours.moves_to(zone);
        let sales = app.organizer_gets(&format!("/bookings/events/{event}/sales")).await.body;

        let days = sales["days"].as_array().unwrap_or_else(|| panic!("{sales}"));
        assert_eq!(days.iter().map(|day| day["date"].as_str().unwrap()).collect::<Vec<_>>(), expected, "{zone}");
        assert_eq!(sales["time_zone"], told);
    }
}

#[tokio::test]
async fn the_export_has_every_attendee_and_no_formula() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 1250);
    let (anna, bert) = (app.sells(20, &event, 2).await, app.sells(21, &event, 1).await);
    app.execute("update bookings set user_name = '=cmd|''/c calc''!A1, \"x\"' where user_id = 20").await;
    app.execute("update bookings set created_at = '2026-03-04 05:06:07'").await;

    let export = app.export(&event, "").await;
    let found = app.export(&event, "?search=user21").await;

    let time = "\"EUR\",\"2026-03-04T05:06:07Z\",\"Confirmed\"";
    let bert = format!("{bert},\"User 21\",\"user21@example.org\",1,12.50,{time}");
    let anna = format!("{anna},\"'=cmd|'/c calc'!A1, \"\"x\"\"\",\"user20@example.org\",2,25.00,{time}");
    let head = "\u{feff}\"booking_id\",\"name\",\"email\",\"seats\",\"amount\",\"currency\",\"booked_at\",\"status\""
        .to_owned();
    assert_eq!(export, [head.clone(), bert.clone(), anna]);
    assert_eq!(found, [head, bert]);
}

#[tokio::test]
async fn an_export_has_more_rows_than_one_page() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 0);
    app.sells(20, &event, 1).await;
    app.execute(
        "insert into bookings (user_id, event_id, status, payment_status, seats, price, amount, currency, event_title,
             event_starts_at, organizer_id, expires_at, reservation_id, operation_id, user_name, user_email)
         select 100 + n, event_id, status, payment_status, seats, price, amount, currency, event_title,
             event_starts_at, organizer_id, expires_at, gen_random_uuid(), gen_random_uuid(), user_name, user_email
         from bookings, generate_series(1, 2100) n",
    )
    .await;

    let export = app.export(&event, "").await;

    let mut numbers: Vec<&str> = export[1..].iter().map(|line| line.split_once(',').unwrap().0).collect();
    assert_eq!(numbers.len(), 2101);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 2101);
}

#[tokio::test]
async fn attendees_of_a_cancelled_event_are_still_listed() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 1250);
    let (anna, bert) = (app.sells(20, &event, 2).await, app.sells(21, &event, 1).await);
    assert_eq!(app.cancel_request(21, bert).send().await.status, StatusCode::OK);
    app.books(&event, 1).await;
    app.neighbours.world().events.get_mut(&event).unwrap().cancelled = true;
    app.receives(Uuid::new_v4(), Message::EventCancelled(app.event_fact(&event, "Concert", 2))).await;
    app.sweeps().await;
    let path = format!("/bookings/events/{event}/attendees");

    let all = app.organizer_gets(&path).await;
    let found = app.organizer_gets(&format!("{path}?search=user20")).await;
    let export = app.export(&event, "").await;

    // Bookings that were cancelled before or never paid are not listed.
    assert_eq!((ids(&all), ids(&found)), (vec![i64::from(anna)], vec![i64::from(anna)]));
    assert_eq!(all.body["items"][0]["status"], "Cancelled");
    assert!(export[1].starts_with(&format!("{anna},")) && export[1].ends_with(",\"Cancelled\""), "{export:?}");
    assert_eq!(export.len(), 2);
}

#[tokio::test]
async fn only_the_events_organizer_and_admins_see_attendees_and_sales() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 1000);
    app.sells(ALICE, &event, 1).await;
    let paths = ["attendees", "attendees.csv", "sales"].map(|what| format!("/bookings/events/{event}/{what}"));
    let ask = async |path: &str, user, role| app.get(path).bearer(&app.token_as(user, role)).send().await;

    for path in &paths {
        app.get(path).send().await.assert_refused(401, "login_required");
        ask(path, ALICE, Role::Attendee).await.assert_refused(403, "role_required");
        ask(path, ORGANIZER + 1, Role::Organizer).await.assert_refused(403, "not_your_event");
        ask(&path.replace(&event, "nosuch"), ORGANIZER, Role::Organizer).await.assert_refused(404, "event_not_found");
        ask(&path.replace(&event, "..%2Fx"), ORGANIZER, Role::Admin).await.assert_refused(404, "event_not_found");
        ask(&format!("{path}?search=%00"), ALICE, Role::Attendee).await.assert_refused(403, "role_required");
    }
    for path in [&paths[0], &paths[2]] {
        assert_eq!(ask(path, 1, Role::Admin).await.status, StatusCode::OK);
    }
    app.get("/bookings/sales").send().await.assert_refused(401, "login_required");
    ask("/bookings/sales", ALICE, Role::Attendee).await.assert_refused(403, "role_required");
    let others = ask("/bookings/sales", ORGANIZER + 1, Role::Organizer).await;
    assert_eq!(others.body["items"], json!([]));
    let unknown = format!("{}?x=1", paths[0]);
    app.organizer_gets(&unknown).await.assert_refused(400, "invalid_query");
}

#[tokio::test]
async fn without_event_service_organizers_get_503_and_may_retry() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 1000);
    app.neighbours.always("describe", Fault::Fails);

    let answer = app.organizer_gets(&format!("/bookings/events/{event}/sales")).await;

    answer.assert_refused(503, "event_service_unavailable");
    assert_eq!(answer.header("retry-after"), "2");
}

#[tokio::test]
async fn a_booking_counts_on_its_day_in_the_events_time_zone() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(100, 1000);
    for user in 20..23 {
        app.sells(user, &event, 1).await;
    }
    // In Berlin the clocks go forward on 29 March 2026: midnight is 23:00 UTC before, 22:00 UTC after.
    app.execute("update bookings set created_at = '2026-03-28 22:59:59' where user_id = 20").await;
    app.execute("update bookings set created_at = '2026-03-28 23:00:00' where user_id = 21").await;
    app.execute("update bookings set created_at = '2026-03-29 22:00:00' where user_id = 22").await;

    let sales = app.organizer_gets(&format!("/bookings/events/{event}/sales")).await.body;

    let dates: Vec<&str> = sales["days"].as_array().unwrap().iter().map(|day| day["date"].as_str().unwrap()).collect();
    assert_eq!(dates, ["2026-03-28", "2026-03-29", "2026-03-30"]);
    assert_eq!(sales["time_zone"], "Europe/Berlin");
}

/// Status, payment status, day in Berlin, currency, seats and amount of a booking.
type Row = (String, String, NaiveDate, Option<String>, i32, Option<i64>);

#[tokio::test]
async fn the_sales_equal_a_direct_count_of_the_table() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(200, 1250);
    let free = app.neighbours.event(200, 0);
    for user in 20..32 {
        let (seats, event) = (i64::from(user % 4 + 1), if user % 5 == 0 { &free } else { &event });
        let booking = app.sells(user, event, seats).await;
        if user % 3 == 0 {
            assert_eq!(app.cancel_request(user, booking).send().await.status, StatusCode::OK);
        }
    }
    let unpaid = app.books(&event, 3).await;
    app.payment_request(ALICE, unpaid, "pm_card_visa_chargeDeclined").send().await.assert_refused(402, "card_declined");
    let given_up = app.books(&event, 2).await;
    assert_eq!(app.cancel_request(ALICE, given_up).send().await.status, StatusCode::OK);
    app.execute("update bookings set created_at = created_at - user_id % 4 * interval '1 day'").await;
    app.execute("update bookings set currency = 'USD' where user_id = 22").await;
    app.sweeps().await;

    let sales = app.organizer_gets(&format!("/bookings/events/{event}/sales")).await.body;
    let own = app.organizer_gets("/bookings/sales").await.body;

    let rows: Vec<Row> = sqlx::query_as(
        "select status, payment_status, (created_at at time zone 'utc' at time zone 'Europe/Berlin')::date, currency,
             seats, amount
         from bookings where event_id = $1",
    )
    .bind(&event)
    .fetch_all(&app.pool)
    .await
    .unwrap();
    let mut counted: BTreeMap<(NaiveDate, String), [i64; 4]> = BTreeMap::new();
    for (status, payment_status, date, currency, seats, amount) in rows {
        let at = match (status.as_str(), payment_status.as_str()) {
            ("Confirmed", _) => 0,
            ("Cancelled", "Refunded") => 2,
            _ => continue,
        };
        let figures = counted.entry((date, currency.unwrap())).or_default();
        figures[at] += i64::from(seats);
        figures[at + 1] += amount.unwrap();
    }
    let figures = |item: &Value| {
        ["seats", "amount", "cancelled_seats", "cancelled_amount"].map(|name| item[name].as_i64().unwrap())
    };
    let days = sales["days"].as_array().unwrap().iter();
    let told: BTreeMap<(NaiveDate, String), [i64; 4]> = days
        .map(|day| {
            let date = day["date"].as_str().unwrap().parse().unwrap();
            ((date, day["currency"].as_str().unwrap().to_owned()), figures(day))
        })
        .collect();
    assert_eq!(told, counted);
    assert!(counted.len() > 3, "{counted:?}");
    let sum = |currency: &str| {
        let of_currency = counted.iter().filter(|((_, one), _)| one == currency);
        of_currency.fold([0; 4], |sum, (_, day)| std::array::from_fn(|at| sum[at] + day[at]))
    };
    for list in [&sales["totals"], &own["items"]] {
        for total in list.as_array().unwrap().iter().filter(|total| total["event_id"] != json!(free)) {
            assert_eq!(figures(total), sum(total["currency"].as_str().unwrap()), "{total}");
        }
    }
    assert_eq!(sales["totals"].as_array().unwrap().len(), 2);
    assert_eq!(own["items"].as_array().unwrap().len(), 3);
    // What event-service calls sold, and what the gateway kept, is the same.
    let sold: i64 = sales["totals"].as_array().unwrap().iter().map(|total| total["seats"].as_i64().unwrap()).sum();
    assert_eq!(u32::try_from(sold).unwrap(), app.neighbours.seats(&event, "confirmed"));
}

#[tokio::test]
async fn sales_of_an_organizer_are_paginated() {
    let app = TestApp::start().await;
    for _ in 0..3 {
        app.sells(ALICE, &app.neighbours.event(10, 500), 1).await;
    }

    let first = app.organizer_gets("/bookings/sales?limit=2").await.body;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = app.organizer_gets(&format!("/bookings/sales?limit=2&cursor={cursor}")).await.body;

    let mut events: Vec<&Value> = Vec::new();
    for page in [&first, &second] {
        events.extend(page["items"].as_array().unwrap().iter().map(|item| &item["event_id"]));
    }
    assert_eq!((events.len(), &second["next_cursor"]), (3, &Value::Null));
    assert!(events.is_sorted_by(|one, next| one.as_str() < next.as_str()));
}

#[tokio::test]
async fn text_that_postgresql_cannot_store_assert_refused() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 500);
    let cursor = encode_cursor(&("a\0b", "EUR"));

    app.organizer_gets(&format!("/bookings/sales?cursor={cursor}")).await.assert_refused(400, "invalid_cursor");
    let path = format!("/bookings/events/{event}/attendees");
    for cursor in [encode_cursor(&"a\0b"), encode_cursor(&i64::MAX), encode_cursor(&[1, 2])] {
        app.organizer_gets(&format!("{path}?cursor={cursor}")).await.assert_refused(400, "invalid_cursor");
    }
    app.organizer_gets(&format!("{path}?search=a%00b")).await.assert_refused(400, "invalid_query");
}
