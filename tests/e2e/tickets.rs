//! Tickets and the door, on the whole platform and over its one origin.

use std::time::Duration;

use eventplatform_tests::api;
use eventplatform_tests::people::{NewEvent, Person};
use eventplatform_tests::programs::Program;
use futures::future::try_join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::platform;

const LIMIT: Duration = Duration::from_secs(30);

/// A Confirmed booking of an event that begins soon.
async fn books_tonight(attendee: &Person, event_id: &str) -> Value {
    let booking = attendee.books(event_id, 2).await.unwrap();
    attendee.sees_become(&booking, "Confirmed", "Paid", LIMIT).await.unwrap()
}

fn code(booking: &Value) -> &str {
    booking["tickets"][0]["code"].as_str().unwrap_or_else(|| panic!("{booking}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_checked_in_by_one_of_many_doors() {
    let platform = platform().await;
    let (organizer, attendee) = (platform.organizer().await.unwrap(), platform.attendee().await.unwrap());
    let event_id = organizer.creates(NewEvent::free(5).tonight()).await.unwrap();
    let booking = books_tonight(&attendee, &event_id).await;
    let link = json!({ "event_id": event_id, "label": "North", "expires_at": booking["event_starts_at"] });
    let link = organizer.post("/tickets/door-links", &link).await.unwrap().expect(StatusCode::CREATED).unwrap();
    let door = platform.visitor().with_token(link["token"].as_str().unwrap());
    let scan = || json!({ "event_id": event_id, "code": code(&booking), "scan_id": Uuid::new_v4() });

    let replies = try_join_all((0..20).map(async |_| door.post("/tickets/check-ins", &scan()).await)).await.unwrap();

    let admitted = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(admitted, 1);
    for reply in replies.into_iter().filter(|reply| reply.status != 200) {
        reply.refused(StatusCode::CONFLICT, "already_checked_in").unwrap();
    }
    let path = format!("/tickets/check-ins?event_id={event_id}");
    let counts = organizer.get(&path).await.unwrap().expect(StatusCode::OK).unwrap();
    assert_eq!((&counts["present"], &counts["expected"]), (&json!(1), &json!(2)));
    let seen = attendee.sees(&booking).await.unwrap();
    assert_eq!((&seen["tickets"][0]["state"], &seen["tickets"][1]["state"]), (&json!("used"), &json!("valid")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_one_event_opens_no_other_and_is_nobody_elses() {
    let platform = platform().await;
    let (organizer, attendee) = (platform.organizer().await.unwrap(), platform.attendee().await.unwrap());
    let (one, other) = (NewEvent::free(5).tonight(), NewEvent::free(5).tonight());
    let (one, other) = (organizer.creates(one).await.unwrap(), organizer.creates(other).await.unwrap());
    let booking = books_tonight(&attendee, &one).await;
    let stranger = platform.organizer().await.unwrap();
    let path = format!("/tickets/{}", code(&booking));

    let wrong_door = organizer.post("/tickets/check-ins", &json!({ "event_id": other, "code": code(&booking) })).await;
    let not_theirs = stranger.post("/tickets/check-ins", &json!({ "event_id": one, "code": code(&booking) })).await;

    wrong_door.unwrap().refused(StatusCode::CONFLICT, "other_event").unwrap();
    not_theirs.unwrap().refused(StatusCode::FORBIDDEN, "not_your_event").unwrap();
    stranger.get(&path).await.unwrap().refused(StatusCode::NOT_FOUND, "ticket_not_found").unwrap();
    for who in [&organizer, &attendee] {
        who.get(&path).await.unwrap().expect(StatusCode::OK).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_and_no_metric_shows_a_code_or_the_token_of_a_door() {
    let platform = platform().await;
    let (organizer, attendee) = (platform.organizer().await.unwrap(), platform.attendee().await.unwrap());
    let event_id = organizer.creates(NewEvent::free(5).tonight()).await.unwrap();
    let booking = books_tonight(&attendee, &event_id).await;
    let (code, ticket) = (code(&booking), &booking["tickets"][0]["id"]);
    let link = json!({ "event_id": event_id, "label": "North", "expires_at": booking["event_starts_at"] });
    let link = organizer.post("/tickets/door-links", &link).await.unwrap().expect(StatusCode::CREATED).unwrap();
    let token = link["token"].as_str().unwrap();
    let door = platform.visitor().with_token(token);

    attendee.get(&format!("/tickets/{code}")).await.unwrap().expect(StatusCode::OK).unwrap();
    for path in [format!("/tickets/{code}/x"), format!("/x/{code}?{code}")] {
        assert_eq!(door.get(&path).await.unwrap().status, 404, "{path}");
    }
    for scan in
        [json!({ "event_id": event_id, "code": code }), json!({ "event_id": code, "code": code, "scan_id": code })]
    {
        door.post("/tickets/check-ins", &scan).await.unwrap();
    }
    attendee.patch(&format!("/tickets/{ticket}"), &json!({ "holder_name": code })).await.unwrap();

    let (secret_code, secret_token) = (&code[code.len() - 60..], &token[token.len() - 30..]);
    for program in [Program::Booking, Program::Event, Program::User, Program::Frontend] {
        let admin = platform.program(program).admin;
        let metrics = api::http_client().get(format!("http://{admin}/metrics")).send().await.unwrap();
        let shown = platform.logs(program).unwrap() + &metrics.text().await.unwrap();
        assert!(!shown.contains(secret_code) && !shown.contains(secret_token), "{} shows it", program.name());
    }
    assert!(platform.logs(Program::Booking).unwrap().contains("/tickets/…"), "requests are logged");
}
