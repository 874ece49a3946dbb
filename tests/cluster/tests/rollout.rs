//! A new version of every program comes while people book and pay: nobody notices.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cluster_tests::specs::{small, with};
use cluster_tests::{Namespace, READY_LIMIT, every_route_answers, variable};
use eventplatform_tests::api::Api as Platform;
use eventplatform_tests::people::{GOOD_CARD, NewEvent, Person};
use eventplatform_tests::wait;
use futures::future::try_join_all;
use reqwest::{StatusCode, Url};
use serde_json::{Value, json};
use tokio::time::interval;

const SEATS: u32 = 100_000;
/// How many book at the same time, each of them again and again, this often.
const PEOPLE: usize = 4;
const PACE: Duration = Duration::from_millis(250);
/// Every so many bookings are priced.
const PRICED: usize = 4;

/// What somebody did.
#[derive(Default)]
struct Done {
    free: Vec<Value>,
    paid: Vec<Value>,
}

#[tokio::test]
async fn every_program_is_rolled_under_load_without_a_failed_request() -> Result<()> {
    Namespace::with("rollout", async |namespace| {
        let origin = Url::parse(&variable("ORIGIN")?)?;
        let port = origin.port().context("ORIGIN has no port")?;
        // A host of its own: another platform has all the others.
        let host = format!("{}.localhost", namespace.name);
        let url = format!("http://{host}:{port}");
        let spec = with(small(), "/exposure", json!({ "type": "Ingress", "url": url, "host": host }));
        namespace.apply("demo", spec.clone()).await?;
        namespace.ready("demo").await?;
        let visitor = Platform::at_address(&Url::parse(&url)?, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        every_route_answers(&visitor).await?;
        let organizer = Person::register(&visitor, "organizer").await?;
        let free = organizer.creates(NewEvent::free(SEATS).with("max_seats_per_person", SEATS)).await?;
        let priced = organizer.creates(NewEvent::priced(SEATS, 1500)).await?;
        let people = try_join_all((0..PEOPLE).map(|_| Person::register(&visitor, "attendee"))).await?;

        let (booked, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let load = people.iter().cloned().map(|person| {
            let (free, priced, booked, stop) = (free.clone(), priced.clone(), booked.clone(), stop.clone());
            tokio::spawn(async move { books_on(&person, &free, &priced, &booked, &stop).await })
        });
        let load: Vec<_> = load.collect();
        let rolled = roll(namespace, spec, &booked).await;
        stop.store(true, Ordering::Relaxed);
        let done = try_join_all(load).await?.into_iter().collect::<Result<Vec<Done>>>()?;
        rolled?;

        let count = |of: fn(&Done) -> &Vec<Value>| done.iter().map(|done| of(done).len()).sum::<usize>();
        let (free_count, paid_count) = (count(|done| &done.free), count(|done| &done.paid));
        println!("{free_count} free and {paid_count} paid bookings while everything was rolled");
        organizer.sees_available(&free, SEATS - u32::try_from(free_count)?, READY_LIMIT).await?;
        organizer.sees_available(&priced, SEATS - u32::try_from(paid_count)?, READY_LIMIT).await?;
        for (person, done) in people.iter().zip(&done) {
            for booking in done.free.iter().chain(&done.paid) {
                let seen = person.sees(booking).await?;
                ensure!(seen["status"] == "Confirmed", "{seen}");
            }
            all_are_told(person, done.free.len() + done.paid.len()).await?;
        }
        let charged = "select count(*), sum(amount) from ledger_entries where kind = 'charge'";
        let charged = namespace.sql("gateway", charged).await?;
        ensure!(charged == format!("{paid_count}|{}", paid_count * 1500), "{charged} for {paid_count} bookings");
        Ok(())
    })
    .await
}

/// Books, and pays every so often, until told to stop. Whatever is refused or not answered ends it.
async fn books_on(person: &Person, free: &str, priced: &str, booked: &AtomicUsize, stop: &AtomicBool) -> Result<Done> {
    let (mut done, mut pace) = (Done::default(), interval(PACE));
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        if booked.fetch_add(1, Ordering::Relaxed).is_multiple_of(PRICED) {
            let booking = person.books(priced, 1).await?;
            person.pays(&booking, GOOD_CARD).await?.expect(StatusCode::CREATED)?;
            done.paid.push(booking);
        } else {
            done.free.push(person.books(free, 1).await?);
        }
        person.get("/users/me").await?.expect(StatusCode::OK)?;
        person.notifications().await?;
    }
    Ok(done)
}

/// Rolls all programs at once, amid bookings.
async fn roll(namespace: &Namespace, spec: Value, booked: &AtomicUsize) -> Result<()> {
    let further = async |bookings: usize| {
        let from = booked.load(Ordering::Relaxed);
        wait::until("bookings go on", READY_LIMIT, async || {
            ensure!(booked.load(Ordering::Relaxed) >= from + bookings, "not yet");
            Ok(())
        })
        .await
    };
    further(20).await?;
    let services = ["user", "event", "booking", "notification", "frontend", "mockGateway"];
    let changed = services.into_iter().fold(spec, |spec, service| {
        with(spec, &format!("/services/{service}/env"), json!([{ "name": "ROLLED", "value": "1" }]))
    });
    namespace.apply("demo", changed).await?;
    namespace.ready("demo").await?;
    further(20).await
}

/// Every booking was told of exactly once.
async fn all_are_told(person: &Person, bookings: usize) -> Result<()> {
    wait::until(format!("{bookings} confirmations are told"), READY_LIMIT, async || {
        let path = format!("/notifications/{}", person.id);
        let (mut told, mut cursor) = (Vec::new(), None);
        loop {
            let after = cursor.map_or(String::new(), |cursor: String| format!("&cursor={cursor}"));
            let page = person.get(&format!("{path}?limit=100{after}")).await?.expect(StatusCode::OK)?;
            told.extend(page["items"].as_array().context("no items")?.iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        let confirmations = told.iter().filter(|told| told["type"] == "booking.confirmed").count();
        ensure!(confirmations == bookings, "{confirmations} of {bookings}");
        Ok(())
    })
    .await
}
