//! A deleted account leaves nothing of the person in any database or queue; what the accounts need stays.

use std::time::Duration;

use anyhow::{Result, ensure};
use bson::{Document, doc};
use eventplatform_tests::api::Api;
use eventplatform_tests::people::{GOOD_CARD, NewEvent, PASSWORD, Person};
use eventplatform_tests::programs::Program;
use eventplatform_tests::stack::Stack;
use eventplatform_tests::wait;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::platform;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_leaves_nothing_of_the_person_anywhere() {
    let platform = platform().await;
    let organizer = platform.organizer().await.unwrap();
    let (free, priced) = (NewEvent::free(5), NewEvent::priced(5, 2500));
    let (free, priced) = (organizer.creates(free).await.unwrap(), organizer.creates(priced).await.unwrap());
    let tag = Uuid::new_v4().simple();
    let (name, email) = (format!("Ada {tag}"), format!("Countess-{tag}@people.example"));
    let account = json!({ "email": email, "password": PASSWORD, "name": name });
    once(&platform.visitor(), "/users/register", &account).await;
    let person = Person::log_in(&platform.visitor(), &email, PASSWORD).await.unwrap();
    let free = once(&person, "/bookings", &json!({ "event_id": free, "seats": 2 })).await;
    let paid = once(&person, "/bookings", &json!({ "event_id": priced, "seats": 2 })).await;
    once(&person, "/payments", &json!({ "booking_id": paid["id"], "payment_method": GOOD_CARD })).await;
    let pending = once(&person, "/bookings", &json!({ "event_id": priced, "seats": 1 })).await;
    for booking in [&free, &paid] {
        person.is_told("booking.confirmed", booking).await.unwrap();
    }
    // The search finds what there is.
    let about_event = places_of(platform, &[free["event_id"].as_str().unwrap()]).await.unwrap();
    for kind in ["collection events", "collection notifications", "booking-service: table public.outbox"] {
        assert!(about_event.iter().any(|place| place.starts_with(kind)), "{kind}: {about_event:?}");
    }
    let before = places_of(platform, &[&name, &email]).await.unwrap();
    for table in ["user-service: table public.users", "user-service: table public.idempotency_keys"] {
        assert_eq!(before.iter().filter(|place| *place == table).count(), 2, "{before:?}");
    }
    for table in ["booking-service: table public.bookings", "booking-service: table public.tickets"] {
        assert!(before.contains(&table.to_owned()), "{before:?}");
    }

    let deleted = person.post("/users/me/delete", &json!({ "password": PASSWORD })).await.unwrap();

    deleted.expect(StatusCode::NO_CONTENT).unwrap();
    is_finished(platform, &person).await.unwrap();
    wait::until("nothing is left of the person", LIMIT, async || {
        let left = places_of(platform, &[&name, &email]).await?;
        ensure!(left.is_empty(), "name or address is in {left:?}");
        let notifications = platform.documents(Program::Notification).await?.collection::<Document>("notifications");
        let told = notifications.count_documents(doc! { "user_id": person.id }).await?;
        ensure!(told == 0, "{told} notifications");
        Ok(())
    })
    .await
    .unwrap();
    assert_accounts(platform, &free, ("Cancelled", "Paid", 0)).await;
    assert_accounts(platform, &paid, ("Cancelled", "Refunded", 5000)).await;
    assert_accounts(platform, &pending, ("Cancelled", "Unpaid", 2500)).await;
    assert_eq!(ledger(platform, &paid).await, [("charge".to_owned(), 5000), ("refund".to_owned(), 5000)]);
    let again = once(&platform.visitor(), "/users/register", &account).await;
    assert_ne!(again["id"], person.id);
}

/// Asks under one key until the answer is no failure; it has to be 201.
async fn once(who: &Api, path: &str, body: &Value) -> Value {
    let key = Uuid::new_v4().to_string();
    let ask = async || who.post_once(path, &key, body).await?.expect(StatusCode::CREATED);
    wait::until(path, LIMIT, ask).await.unwrap()
}

/// Where any of these texts is stored; each place once for each text.
async fn places_of(platform: &Stack, texts: &[&str]) -> Result<Vec<String>> {
    let mut places = Vec::new();
    for text in texts {
        let mut found: Vec<String> = platform.search(text).await?.into_iter().map(|hit| hit.place).collect();
        found.sort();
        found.dedup();
        places.append(&mut found);
    }
    Ok(places)
}

/// Waits until booking-service is done with the deletion, as if the time had passed in which requests from before it
/// may come.
async fn is_finished(platform: &Stack, person: &Person) -> Result<()> {
    let bookings = platform.database(Program::Booking).await?;
    let id = i32::try_from(person.id)?;
    wait::until("booking-service hears of the deletion", LIMIT, async || {
        let sql = "update account_deletions set received_at = received_at - interval '1 hour', next_check_at = now()
                   where user_id = $1";
        let heard = sqlx::query(sql).bind(id).execute(&bookings).await?.rows_affected();
        ensure!(heard == 1, "not yet");
        Ok(())
    })
    .await?;
    wait::until("the deletion is finished", LIMIT, async || {
        let sql = "select finished_at is not null from account_deletions where user_id = $1";
        ensure!(sqlx::query_scalar::<_, bool>(sql).bind(id).fetch_one(&bookings).await?, "not yet");
        Ok(())
    })
    .await
}

/// A booking has that status and payment status, and its number and amount are still known.
async fn assert_accounts(platform: &Stack, booking: &Value, expected: (&str, &str, i64)) {
    let sql = "select status, payment_status, amount, currency from bookings where id::text = $1";
    let row: (String, String, i64, String) = sqlx::query_as(sql)
        .bind(booking["id"].to_string())
        .fetch_one(&platform.database(Program::Booking).await.unwrap())
        .await
        .unwrap();
    assert_eq!((row.0.as_str(), row.1.as_str(), row.2, row.3.as_str()), (expected.0, expected.1, expected.2, "EUR"));
}

/// What the gateway took and gave back for a booking.
async fn ledger(platform: &Stack, booking: &Value) -> Vec<(String, i64)> {
    let sql = "select kind, amount from ledger_entries where booking_id = $1 order by id";
    let gateway = platform.database(Program::MockGateway).await.unwrap();
    sqlx::query_as(sql).bind(booking["id"].to_string()).fetch_all(&gateway).await.unwrap()
}
