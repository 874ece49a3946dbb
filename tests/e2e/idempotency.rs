//! N identical requests make one booking, one charge and N identical answers.

use std::time::Duration;

use eventplatform_tests::api::Reply;
use eventplatform_tests::people::{GOOD_CARD, NewEvent, Person};
use eventplatform_tests::programs::Program;
use futures::future::try_join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::platform;

const TIMES: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_identical_bookings_are_one() {
    let platform = platform().await;
    let event_id = platform.organizer().await.unwrap().creates(NewEvent::priced(40, 1000)).await.unwrap();
    let attendee = platform.attendee().await.unwrap();

    let replies = twenty_times(&attendee, "/bookings", &json!({ "event_id": event_id, "seats": 1 })).await;

    let first = all_the_same(&replies);
    assert_eq!(replies[0].status, 201, "{first}");
    let list = attendee.get("/bookings").await.unwrap().expect(StatusCode::OK).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    attendee.sees_available(&event_id, 39, Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_identical_payments_charge_once() {
    let platform = platform().await;
    let event_id = platform.organizer().await.unwrap().creates(NewEvent::priced(5, 1000)).await.unwrap();
    let attendee = platform.attendee().await.unwrap();
    let booking = attendee.books(&event_id, 1).await.unwrap();

    let body = json!({ "booking_id": booking["id"], "payment_method": GOOD_CARD });
    let replies = twenty_times(&attendee, "/payments", &body).await;

    let first = all_the_same(&replies);
    assert_eq!((replies[0].status, &first["status"]), (201, &json!("Succeeded")), "{first}");
    let gateway = platform.database(Program::MockGateway).await.unwrap();
    let charges: i64 =
        sqlx::query_scalar("select count(*) from ledger_entries where booking_id = $1 and kind = 'charge'")
            .bind(booking["id"].to_string())
            .fetch_one(&gateway)
            .await
            .unwrap();
    assert_eq!(charges, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_not_taken_for_another_body() {
    let platform = platform().await;
    let event_id = platform.organizer().await.unwrap().creates(NewEvent::priced(5, 1000)).await.unwrap();
    let attendee = platform.attendee().await.unwrap();
    let key = Uuid::new_v4().to_string();
    let book = async |seats| {
        let body = json!({ "event_id": event_id, "seats": seats });
        attendee.post_once("/bookings", &key, &body).await.unwrap()
    };
    book(1).await.expect(StatusCode::CREATED).unwrap();

    let other = book(2).await;

    other.refused(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused").unwrap();
}

async fn twenty_times(person: &Person, path: &str, body: &Value) -> Vec<Reply> {
    let key = Uuid::new_v4().to_string();
    try_join_all((0..TIMES).map(|_| person.post_once(path, &key, body))).await.unwrap()
}

fn all_the_same(replies: &[Reply]) -> &Value {
    let first = &replies[0];
    for reply in replies {
        assert_eq!((reply.status, &reply.body), (first.status, &first.body));
    }
    &first.body
}
