//! No oversell, at any read: many people want few seats at the same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use bson::{Document, doc};
use eventplatform_tests::people::{NewEvent, Person};
use eventplatform_tests::programs::Program;
use futures::TryStreamExt;
use futures::future::{join_all, try_join_all};
use mongodb::Database;
use mongodb::options::{ReadConcern, SelectionCriteria, TransactionOptions};
use serde_json::Value;

use crate::platform;

const SEATS: u32 = 50;
const PEOPLE: usize = 10;
const BOOKINGS: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_bookings_of_fifty_seats_hold_exactly_fifty() {
    let platform = platform().await;
    // One person may hold any of them.
    let event = NewEvent::priced(SEATS, 1500).with("max_seats_per_booking", SEATS);
    let event_id = platform.organizer().await.unwrap().creates(event).await.unwrap();
    let people = try_join_all((0..PEOPLE).map(|_| platform.attendee())).await.unwrap();
    let documents = platform.documents(Program::Event).await.unwrap();

    let done = AtomicBool::new(false);
    let book = async {
        let asking = (0..BOOKINGS).map(|n| people[n % PEOPLE].asks_for(&event_id, 1));
        let replies = join_all(asking).await;
        done.store(true, Ordering::Relaxed);
        replies
    };
    let watch = async {
        let mut snapshots = 0;
        while !done.load(Ordering::Relaxed) {
            Counters::snapshot(&documents, &event_id).await.unwrap().check().unwrap();
            snapshots += 1;
        }
        snapshots
    };
    let (replies, snapshots) = tokio::join!(book, watch);

    let replies: Vec<_> = replies.into_iter().map(Result::unwrap).collect();
    let held = replies.iter().filter(|reply| reply.status == 201 && reply.body["status"] == "Pending").count();
    let sold_out = replies.iter().filter(|reply| reply.status == 409 && reply.body["code"] == "sold_out").count();
    let other: Vec<&Value> =
        replies.iter().filter(|reply| ![201, 409].contains(&reply.status)).map(|reply| &reply.body).collect();
    assert!(other.is_empty(), "unexpected answers: {other:?}");
    assert_eq!((held, sold_out), (SEATS as usize, BOOKINGS - SEATS as usize));
    assert!(snapshots > 0);
    let counters = Counters::snapshot(&documents, &event_id).await.unwrap();
    counters.check().unwrap();
    assert_eq!((counters.available, counters.held, counters.sold), (0, i64::from(SEATS), 0));
    each_person_lists_what_was_answered(&people, &event_id, held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_seat_goes_to_one_of_many() {
    let platform = platform().await;
    let event_id = platform.organizer().await.unwrap().creates(NewEvent::free(1)).await.unwrap();
    let people = try_join_all((0..8).map(|_| platform.attendee())).await.unwrap();

    let replies = join_all(people.iter().map(|person| person.asks_for(&event_id, 1))).await;

    let statuses: Vec<u16> = replies.into_iter().map(|reply| reply.unwrap().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 7, "{statuses:?}");
}

async fn each_person_lists_what_was_answered(people: &[Person], event_id: &str, held: usize) {
    let mut listed = 0;
    for person in people {
        let list = person.get("/bookings?status=Pending&limit=100").await.unwrap().body;
        listed += list["items"].as_array().unwrap().iter().filter(|booking| booking["event_id"] == *event_id).count();
    }
    assert_eq!(listed, held);
}

/// An event's counters and its reservations, read in one snapshot.
struct Counters {
    capacity: i64,
    available: i64,
    held: i64,
    sold: i64,
    ledger_held: i64,
    ledger_confirmed: i64,
}

impl Counters {
    async fn snapshot(documents: &Database, event_id: &str) -> Result<Self> {
        let mut session = documents.client().start_session().await?;
        let options = TransactionOptions::builder()
            .read_concern(ReadConcern::snapshot())
            .selection_criteria(SelectionCriteria::ReadPreference(mongodb::options::ReadPreference::Primary))
            .max_commit_time(Duration::from_secs(5))
            .build();
        session.start_transaction().with_options(options).await?;
        let event = documents.collection::<Document>("events");
        let event = event.find_one(doc! { "_id": event_id }).session(&mut session).await?;
        let event = event.ok_or_else(|| anyhow::anyhow!("no event {event_id}"))?;
        let reservations = documents.collection::<Document>("reservations");
        let mut cursor = reservations.find(doc! { "event_id": event_id }).session(&mut session).await?;
        let ledger: Vec<Document> = cursor.stream(&mut session).try_collect().await?;
        session.commit_transaction().await?;
        let seats = |state| {
            let of_state = ledger.iter().filter(|reservation| reservation.get_str("state").is_ok_and(|it| it == state));
            of_state.map(|reservation| integer(reservation, "seats")).sum()
        };
        Ok(Self {
            capacity: integer(&event, "capacity"),
            available: integer(&event, "available"),
            held: integer(&event, "held"),
            sold: integer(&event, "sold"),
            ledger_held: seats("held"),
            ledger_confirmed: seats("confirmed"),
        })
    }

    fn check(&self) -> Result<()> {
        let Self { capacity, available, held, sold, ledger_held, ledger_confirmed } = self;
        ensure!(*available >= 0, "oversold: {available} available");
        ensure!(available + held + sold == *capacity, "{available} + {held} + {sold} is not {capacity}");
        ensure!(held == ledger_held, "{held} held, but the ledger holds {ledger_held}");
        ensure!(sold == ledger_confirmed, "{sold} sold, but the ledger says {ledger_confirmed}");
        Ok(())
    }
}

fn integer(document: &Document, field: &str) -> i64 {
    let value = document.get(field).unwrap_or_else(|| panic!("no {field} in {document}"));
    value.as_i64().or_else(|| value.as_i32().map(i64::from)).unwrap_or_else(|| panic!("{field} is {value}"))
}
