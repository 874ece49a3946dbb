//! Several replicas of every service are one platform.

use std::time::Duration;

use eventplatform_tests::people::NewEvent;
use eventplatform_tests::programs::Program;
use eventplatform_tests::stack::{Options, Stack};
use futures::future::{join_all, try_join_all};
use serde_json::json;
use uuid::Uuid;

const SEATS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_of_each_service_sell_every_seat_once_and_outlive_a_killed_one() {
    let platform = Stack::start(Options { replicas: 2, ..Options::default() }).await.unwrap();
    let organizer = platform.organizer().await.unwrap();
    // One person may hold any of them.
    let event = NewEvent::priced(u32::try_from(SEATS).unwrap(), 1000).with("max_seats_per_booking", SEATS);
    let event_id = organizer.creates(event).await.unwrap();
    let people = try_join_all((0..4).map(|_| platform.attendee())).await.unwrap();

    let asking = (0..5 * SEATS).map(|n| people[n % people.len()].asks_for(&event_id, 1));
    let statuses: Vec<u16> = join_all(asking).await.into_iter().map(|reply| reply.unwrap().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), SEATS, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 4 * SEATS, "{statuses:?}");

    let other_event = organizer.creates(NewEvent::priced(5, 1000)).await.unwrap();
    let (key, body) = (Uuid::new_v4().to_string(), json!({ "event_id": other_event, "seats": 1 }));
    let replies = try_join_all((0..10).map(|_| people[0].post_once("/bookings", &key, &body))).await.unwrap();
    assert!(replies.iter().all(|reply| reply.status == 201 && reply.body == replies[0].body), "{replies:?}");

    for program in [Program::User, Program::Event, Program::Booking, Program::Notification] {
        platform.replicas(program)[0].kill().await;
    }
    let booking = &replies[0].body;
    people[0].has_paid(booking).await.unwrap();
    people[0].sees_become(booking, "Confirmed", "Paid", Duration::from_secs(10)).await.unwrap();
    people[0].is_told("booking.confirmed", booking).await.unwrap();
}
