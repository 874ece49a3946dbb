//! Nobody reads another user's data, and everybody does only what their role allows.

use std::time::{Duration, Instant};

use eventplatform_tests::people::{GOOD_CARD, NewEvent, PASSWORD, number};
use eventplatform_tests::wait;
use reqwest::StatusCode;
use serde_json::json;
use uuid::Uuid;

use crate::platform;

/// How long an ended session or a withdrawn role may still count at a service (decision 15).
const REVOCATION_LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_booking_payment_and_notifications_are_not_found() {
    let platform = platform().await;
    let event_id = platform.organizer().await.unwrap().creates(NewEvent::priced(5, 1000)).await.unwrap();
    let (owner, other) = (platform.attendee().await.unwrap(), platform.attendee().await.unwrap());
    let booking = owner.books(&event_id, 1).await.unwrap();
    let payment = owner.has_paid(&booking).await.unwrap();
    let (booking_id, payment_id) = (number(&booking, "id").unwrap(), number(&payment, "id").unwrap());
    let told = owner.is_told("booking.confirmed", &booking).await.unwrap();
    let note = format!("/notifications/{}/{}/read", owner.id, told["id"].as_str().unwrap_or_default());

    let answers = [
        other.get(&format!("/bookings/{booking_id}")).await,
        other.post(&format!("/bookings/{booking_id}/cancel"), &json!({})).await,
        other.pays(&booking, GOOD_CARD).await,
        other.get(&format!("/payments/{payment_id}")).await,
        other.get(&format!("/notifications/{}", owner.id)).await,
        other.get(&format!("/notifications/{}/stream", owner.id)).await,
        other.post(&note, &json!({})).await,
    ];

    for answer in answers {
        answer.unwrap().expect(StatusCode::NOT_FOUND).unwrap();
    }
    assert!(other.get("/bookings").await.unwrap().body["items"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attendee_creates_no_events_and_changes_no_users() {
    let platform = platform().await;
    let attendee = platform.attendee().await.unwrap();
    let path = format!("/users/{}", attendee.id);

    attendee.post("/api/events", &NewEvent::free(5).body()).await.unwrap().expect(StatusCode::FORBIDDEN).unwrap();
    let promoted = attendee.patch(&path, &json!({ "role": "admin" })).await.unwrap();
    promoted.expect(StatusCode::FORBIDDEN).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organizer_changes_no_event_of_another() {
    let platform = platform().await;
    let (owner, other) = (platform.organizer().await.unwrap(), platform.organizer().await.unwrap());
    let event_id = owner.creates(NewEvent::free(5)).await.unwrap();
    let draft_id = owner.creates(NewEvent::free(5).with("status", "draft")).await.unwrap();

    let changed = other.patch(&format!("/api/events/{event_id}"), &json!({ "title": "Mine now" })).await.unwrap();
    let deleted = other.delete(&format!("/api/events/{event_id}")).await.unwrap();
    let draft = other.get(&format!("/api/events/{draft_id}")).await.unwrap();

    assert!([403, 404].contains(&changed.status), "{}", changed.body);
    assert!([403, 404].contains(&deleted.status), "{}", deleted.body);
    draft.expect(StatusCode::NOT_FOUND).unwrap();
    owner.get(&format!("/api/events/{draft_id}")).await.unwrap().expect(StatusCode::OK).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_booking_service_takes_seats() {
    let platform = platform().await;
    let organizer = platform.organizer().await.unwrap();
    let event_id = organizer.creates(NewEvent::free(5)).await.unwrap();
    let path = format!("/api/events/{event_id}/decrease_capacity");
    let body = json!({ "reservation_id": Uuid::new_v4(), "seats": 1, "hold_seconds": 60 });

    let nobody = platform.visitor().put(&path, &body).await.unwrap();
    let user = organizer.put(&path, &body).await.unwrap();
    let admin = platform.admin().await.unwrap().put(&path, &body).await.unwrap();

    nobody.expect(StatusCode::UNAUTHORIZED).unwrap();
    user.expect(StatusCode::FORBIDDEN).unwrap();
    admin.expect(StatusCode::FORBIDDEN).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_only_events_are_shown() {
    let platform = platform().await;
    let visitor = platform.visitor();

    for path in ["/api/events", "/users/events"] {
        visitor.get(path).await.unwrap().expect(StatusCode::OK).unwrap();
    }
    visitor.get("/tickets/keys").await.unwrap().expect(StatusCode::OK).unwrap();
    for path in [
        "/users/me",
        "/users",
        "/bookings",
        "/bookings/1",
        "/payments/1",
        "/tickets?event_id=x",
        "/tickets/x",
        "/notifications/1",
    ] {
        let answer = visitor.get(path).await.unwrap();
        assert_eq!(answer.status, 401, "{path}: {}", answer.body);
    }
    let forged = visitor.with_token("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.");
    forged.get("/users/me").await.unwrap().expect(StatusCode::UNAUTHORIZED).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_and_a_withdrawn_role_soon_count_nowhere() {
    let platform = platform().await;
    let (admin, organizer) = (platform.admin().await.unwrap(), platform.organizer().await.unwrap());
    let (leaving, disabled) = (platform.attendee().await.unwrap(), platform.attendee().await.unwrap());
    let login = json!({ "email": leaving.email, "password": PASSWORD });
    let tokens = platform.visitor().post("/users/login", &login).await.unwrap().expect(StatusCode::OK).unwrap();
    let session = platform.visitor().with_token(tokens["access_token"].as_str().unwrap());
    let change =
        async |id: i64, change| admin.patch(&format!("/users/{id}"), &change).await.unwrap().expect(StatusCode::OK);

    let logout = json!({ "refresh_token": tokens["refresh_token"] });
    session.post("/users/logout", &logout).await.unwrap().expect(StatusCode::NO_CONTENT).unwrap();
    change(disabled.id, json!({ "status": "disabled" })).await.unwrap();
    change(organizer.id, json!({ "role": "attendee" })).await.unwrap();
    let ended_at = Instant::now();

    let limit = || REVOCATION_LIMIT.saturating_sub(ended_at.elapsed());
    for (person, id) in [(&session, leaving.id), (&*disabled, disabled.id)] {
        for path in ["/users/me".to_owned(), "/bookings".to_owned(), format!("/notifications/{id}")] {
            wait::until(format!("{path} is refused"), limit(), async || {
                person.get(&path).await?.expect(StatusCode::UNAUTHORIZED)
            })
            .await
            .unwrap();
        }
    }
    wait::until("the demoted organizer creates no event", limit(), async || {
        // The body is invalid, and would be refused after the role.
        organizer.post("/api/events", &json!({})).await?.expect(StatusCode::FORBIDDEN)
    })
    .await
    .unwrap();
    leaving.get("/bookings").await.unwrap().expect(StatusCode::OK).unwrap();
}
