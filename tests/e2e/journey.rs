//! A stranger's way through the platform, by the paths that the starting document names.

use std::time::{Duration, Instant};

use eventplatform_tests::api::Reply;
use eventplatform_tests::people::{DECLINED_CARD, GOOD_CARD, NewEvent, PASSWORD, Person};
use futures::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::platform;

const A_SECOND: Duration = Duration::from_secs(1);
/// The quickest of so many counts: other tests share the machine.
const TRIES: u32 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_registers_books_pays_and_is_told() {
    let platform = platform().await;
    let event = NewEvent::priced(10, 2500).with("title", format!("Concert {}", Uuid::new_v4()));
    let title = event.body()["title"].as_str().unwrap().to_owned();
    let event_id = platform.organizer().await.unwrap().creates(event).await.unwrap();

    let stranger = platform.visitor();
    let email = format!("stranger-{}@people.example", Uuid::new_v4().simple());
    let account = json!({ "email": email, "password": PASSWORD, "name": "Sam Stranger" });
    let user = stranger.post("/users/register", &account).await.unwrap().expect(StatusCode::CREATED).unwrap();
    assert_eq!((&user["role"], &user["name"]), (&json!("attendee"), &json!("Sam Stranger")));
    assert!(user["id"].is_i64() && user["created_at"].is_string(), "{user}");
    let again = stranger.post("/users/register", &account).await.unwrap();
    assert_eq!(again.status, 409);

    let login = json!({ "email": email, "password": PASSWORD });
    let tokens = stranger.post("/users/login", &login).await.unwrap().expect(StatusCode::OK).unwrap();
    assert_eq!(tokens["token_type"], "Bearer");
    assert!(tokens["expires_in"].is_i64() && tokens["refresh_token"].is_string());
    let stranger = stranger.with_token(tokens["access_token"].as_str().unwrap());

    for list in ["/api/events", "/users/events"] {
        let path = format!("{list}?q={}", title.split(' ').next_back().unwrap());
        let found = stranger.get(&path).await.unwrap().expect(StatusCode::OK).unwrap();
        assert_eq!(found["items"][0]["id"], *event_id, "{list}: {found}");
        assert_eq!(found["items"][0]["title"], *title);
    }

    let body = json!({ "event_id": event_id, "seats": 2 });
    let booking = stranger.post("/bookings", &body).await.unwrap().expect(StatusCode::CREATED).unwrap();
    assert_eq!((&booking["status"], &booking["payment_status"]), (&json!("Pending"), &json!("Unpaid")));
    assert_eq!((&booking["amount"], &booking["currency"]), (&json!(5000), &json!("EUR")));

    let body = json!({ "booking_id": booking["id"], "payment_method": GOOD_CARD });
    let payment = stranger.post("/payments", &body).await.unwrap().expect(StatusCode::CREATED).unwrap();
    assert_eq!((&payment["status"], &payment["amount"]), (&json!("Succeeded"), &json!(5000)));
    let path = format!("/bookings/{}", booking["id"]);
    let booking = stranger.get(&path).await.unwrap().expect(StatusCode::OK).unwrap();
    assert_eq!((&booking["status"], &booking["payment_status"]), (&json!("Confirmed"), &json!("Paid")));

    let stranger = Person::log_in(&platform.visitor(), &email, PASSWORD).await.unwrap();
    let told = stranger.is_told("booking.confirmed", &booking).await.unwrap();
    assert_eq!((&told["event_id"], &told["read_at"]), (&json!(event_id), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_is_listed_within_a_second() {
    let platform = platform().await;
    let event_id = platform.organizer().await.unwrap().creates(NewEvent::free(TRIES)).await.unwrap();
    let attendee = platform.attendee().await.unwrap();

    let mut times = Vec::new();
    for _ in 0..TRIES {
        let booking = attendee.books(&event_id, 1).await.unwrap();
        let booked = Instant::now();
        attendee.is_told("booking.confirmed", &booking).await.unwrap();
        times.push(booked.elapsed());
    }

    assert!(times.iter().min().unwrap() <= &A_SECOND, "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_leaves_the_hold_for_another_try() {
    let platform = platform().await;
    let event_id = platform.organizer().await.unwrap().creates(NewEvent::priced(5, 1000)).await.unwrap();
    let attendee = platform.attendee().await.unwrap();
    let booking = attendee.books(&event_id, 1).await.unwrap();

    let declined = attendee.pays(&booking, DECLINED_CARD).await.unwrap();

    declined.refused(StatusCode::PAYMENT_REQUIRED, "card_declined").unwrap();
    let seen = attendee.sees(&booking).await.unwrap();
    assert_eq!((&seen["status"], &seen["payment_status"]), (&json!("Pending"), &json!("Failed")));
    attendee.has_paid(&booking).await.unwrap();
    let seen = attendee.sees(&booking).await.unwrap();
    assert_eq!((&seen["status"], &seen["payment_status"]), (&json!("Confirmed"), &json!("Paid")));
    let once_more = attendee.pays(&booking, GOOD_CARD).await.unwrap();
    once_more.refused(StatusCode::CONFLICT, "already_paid").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_event_is_confirmed_without_payment() {
    let platform = platform().await;
    let event_id = platform.organizer().await.unwrap().creates(NewEvent::free(5)).await.unwrap();
    let attendee = platform.attendee().await.unwrap();

    let booking = attendee.books(&event_id, 1).await.unwrap();

    assert_eq!((&booking["status"], &booking["payment_status"]), (&json!("Confirmed"), &json!("Paid")));
    attendee.is_told("booking.confirmed", &booking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_event_refunds_and_tells_its_holders() {
    let platform = platform().await;
    let organizer = platform.organizer().await.unwrap();
    let event_id = organizer.creates(NewEvent::priced(5, 1000)).await.unwrap();
    let attendee = platform.attendee().await.unwrap();
    let booking = attendee.books(&event_id, 1).await.unwrap();
    attendee.has_paid(&booking).await.unwrap();

    let body = json!({ "status": "cancelled" });
    organizer.patch(&format!("/api/events/{event_id}"), &body).await.unwrap().expect(StatusCode::OK).unwrap();

    attendee.sees_become(&booking, "Cancelled", "Refunded", Duration::from_secs(60)).await.unwrap();
    attendee.is_told("event.cancelled", &booking).await.unwrap();
    attendee.is_told("booking.refunded", &booking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_is_streamed_within_a_second() {
    let platform = platform().await;
    let event_id = platform.organizer().await.unwrap().creates(NewEvent::free(TRIES)).await.unwrap();
    let attendee = platform.attendee().await.unwrap();
    let path = format!("/notifications/{}/stream", attendee.id);
    let stream = attendee.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut chunks = stream.bytes_stream();

    let mut times = Vec::new();
    for _ in 0..TRIES {
        let booking = attendee.books(&event_id, 1).await.unwrap();
        let booked = Instant::now();
        let wanted = format!("\"booking_id\":{},", booking["id"]);
        let mut text = String::new();
        let streamed = async {
            while !text.contains(&wanted) {
                text.push_str(&String::from_utf8_lossy(&chunks.next().await.unwrap().unwrap()));
            }
        };
        tokio::time::timeout(Duration::from_secs(60), streamed).await.expect("no notification in the stream");
        times.push(booked.elapsed());
    }

    assert!(times.iter().min().unwrap() <= &A_SECOND, "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_session_lives_in_cookies() {
    let platform = platform().await;
    let attendee = platform.attendee().await.unwrap();
    let body = json!({ "email": attendee.email, "password": PASSWORD, "session": "cookie" });
    let request = platform.visitor().request(Method::POST, "/users/login").header("origin", &platform.origin);

    let login = Reply::to(request.json(&body)).await.unwrap();

    assert_eq!((login.status, &login.body["token_type"]), (200, &json!("Cookie")));
    assert!(login.body.get("access_token").is_none() && login.body.get("refresh_token").is_none());
    let cookies: Vec<&str> = login.headers.get_all("set-cookie").iter().map(|c| c.to_str().unwrap()).collect();
    assert!(cookies.iter().all(|c| c.contains("HttpOnly") && c.contains("SameSite=Strict")), "{cookies:?}");
    let sent: Vec<&str> = cookies.iter().map(|cookie| cookie.split(';').next().unwrap()).collect();
    let with_cookies = |method, path| platform.visitor().request(method, path).header("cookie", sent.join("; "));
    let me = Reply::to(with_cookies(Method::GET, "/users/me")).await.unwrap().expect(StatusCode::OK).unwrap();
    assert_eq!(me["id"], attendee.id);
    let forged = with_cookies(Method::POST, "/bookings").header("origin", "https://evil.example");
    let forged = Reply::to(forged.json(&json!({ "event_id": "any", "seats": 1 }))).await.unwrap();
    assert_eq!(forged.status, 403, "{}", forged.body);
}
