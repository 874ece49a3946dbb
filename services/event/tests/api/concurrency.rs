//! Many requests at once: races for the last seats on one replica and on two, with changes of capacity in between.

use std::{collections::HashSet, time::Duration};

use bson::doc;
use chrono::TimeDelta;
use event_service::loops::gauges::LedgerScan;
use futures::{TryStreamExt, future::join_all};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::helpers::{Answer, TestApp, wait_until};

fn held(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

fn sold_out(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.body["code"] == "sold_out").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_holds_on_fifty_seats_sell_exactly_fifty() {
    let app = TestApp::start().await;
    let id = app.sells(50).await;

    let requests = async { join_all((0..500).map(|_| app.holds(&id, Uuid::new_v4(), 1))).await };
    let watching = async {
        for _ in 0..10 {
            app.assert_sound().await;
            let (available, held, sold) = app.counters(&id).await;
            assert!(available >= 0 && available + held + sold == 50);
        }
    };
    let (answers, ()) = tokio::join!(requests, watching);

    assert_eq!((held(&answers), sold_out(&answers)), (50, 450));
    assert_eq!(app.counters(&id).await, (0, 50, 0));
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_racing_never_oversell() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let id = app.sells(30).await;

    let requests = (0..120).map(|n| {
        let replica = if n % 2 == 0 { &app } else { &replica };
        replica.holds(&id, Uuid::new_v4(), 1 + n % 3)
    });
    let answers = join_all(requests).await;

    let seats: u64 = answers.iter().filter_map(|answer| answer.body["seats"].as_u64()).sum();
    assert_eq!(held(&answers) + sold_out(&answers), 120, "{answers:?}");
    let left = app.counters(&id).await.0;
    assert_eq!(u64::try_from(left).unwrap() + seats, 30);
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_one_admit_as_many_as_large_batches() {
    let app = TestApp::with_batches_of(1).await;
    let id = app.sells(10).await;

    let answers = join_all((0..30).map(|_| app.holds(&id, Uuid::new_v4(), 1))).await;

    assert_eq!((held(&answers), sold_out(&answers)), (10, 20));
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_repetitions_of_a_hold_take_its_seats_once() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let (id, reservation) = (app.sells(10).await, Uuid::new_v4());

    let requests = (0..40).map(|n| (if n % 2 == 0 { &app } else { &replica }).holds(&id, reservation, 2));
    let answers = join_all(requests).await;

    let different: HashSet<_> = answers.iter().map(|answer| answer.assert_ok().to_string()).collect();
    assert_eq!(different.len(), 1);
    assert_eq!(app.counters(&id).await, (8, 2, 0));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_capacity_changes_never_go_below_the_taken_seats() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let id = app.sells(40).await;

    let holds = join_all((0..60).map(|_| app.holds(&id, Uuid::new_v4(), 1)));
    let edits = join_all((1..=10).map(|n| {
        let fields = json!({ "capacity": n * 5 });
        let (replica, id) = (&replica, &id);
        async move { replica.edits(id, &fields).await }
    }));
    let (holds, edits) = tokio::join!(holds, edits);

    assert_eq!(held(&holds) + sold_out(&holds), 60);
    let refused = edits.iter().filter(|answer| answer.body["code"] == "capacity_below_sold").count();
    let changed = edits.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(refused + changed, 10, "{edits:?}");
    let event = app.event(&id).await;
    assert_eq!(event.held, i64::try_from(held(&holds)).unwrap());
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_equal_the_ledger_after_concurrent_holds_confirmations_and_releases() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    let events = [app.sells(20).await, app.sells(35).await];

    let lives = (0..100_usize).map(|n| {
        let (app, replica, event) = (&app, &replica, &events[n % 2]);
        async move {
            let id = Uuid::new_v4();
            let held = app.holds(event, id, 1).await.status == 200;
            let (first, second) = if n % 3 == 0 { (app, replica) } else { (replica, app) };
            let confirmed = async { if n % 5 < 3 { first.confirms(event, id).await.status == 200 } else { false } };
            let released =
                async { if n % 4 == 0 { second.releases(event, id, false).await.status == 200 } else { false } };
            let (confirmed, released) = tokio::join!(confirmed, released);
            (held, confirmed, released)
        }
    });
    let ends = join_all(lives).await;

    app.assert_sound().await;
    let sold: i64 = [app.counters(&events[0]).await.2, app.counters(&events[1]).await.2].iter().sum();
    let kept = ends.iter().filter(|(_, confirmed, released)| *confirmed && !released).count();
    assert_eq!(sold, i64::try_from(kept).unwrap());
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_completed_after_its_client_disconnects() {
    let app = TestApp::start().await;
    let (id, reservation) = (app.sells(10).await, Uuid::new_v4());

    let mut hold = Box::pin(app.holds(&id, reservation, 2));
    // One poll hands it over to the queue.
    assert!(futures::poll!(&mut hold).is_pending());
    drop(hold);

    wait_until("the seats are held", async || app.counters(&id).await == (8, 2, 0)).await;
    app.assert_sound().await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mismatch_of_counters_and_ledger_is_found() {
    let app = TestApp::start().await;
    let store = &app.app.state.store;
    let (sound, broken) = (app.sells(10).await, app.sells(10).await);
    let reservation = Uuid::new_v4();
    app.holds(&sound, Uuid::new_v4(), 1).await.assert_ok();
    app.holds(&broken, reservation, 4).await.assert_ok();
    let mut scan = LedgerScan::default();
    assert_eq!(scan.step(store, 1).await.unwrap() + scan.step(store, 1).await.unwrap(), 0);

    let seats = doc! { "$set": { "seats": 3_i64 } };
    let reservations = app.database.collection::<bson::Document>("reservations");
    reservations.update_one(doc! { "_id": reservation.to_string() }, seats).await.unwrap();

    let page = store.check_ledger().await.unwrap();
    assert_eq!((page.checked.len(), page.mismatches.len()), (2, 1));
    assert_eq!((&page.mismatches[0].event_id, page.mismatches[0].ledger.held), (&broken, 3));
    // The scan is after the last event: one step reaches the end, and the next two compare both events again.
    for _ in 0..2 {
        scan.step(store, 1).await.unwrap();
    }
    assert_eq!(scan.step(store, 1).await.unwrap(), 1);

    // A deleted event no longer counts.
    app.database.collection::<bson::Document>("events").delete_one(doc! { "_id": &broken }).await.unwrap();
    for _ in 0..2 {
        scan.step(store, 1).await.unwrap();
    }
    assert_eq!(scan.step(store, 1).await.unwrap(), 0);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_scan_resumes_after_an_error_where_it_stopped() {
    let app = TestApp::start().await;
    let store = &app.app.state.store;
    let mut ids = [app.sells(10).await, app.sells(10).await];
    ids.sort();
    let events = app.database.collection::<bson::Document>("events");
    let mut scan = LedgerScan::default();
    scan.step(store, 1).await.unwrap();
    // A document that is not an event, so its page cannot be read.
    let unreadable = doc! { "_id": format!("{}!", ids[0]), "capacity": "many" };
    let unchecked = mongodb::options::InsertOneOptions::builder().bypass_document_validation(true).build();
    events.insert_one(unreadable.clone()).with_options(unchecked).await.unwrap();

    scan.step(store, 1).await.unwrap_err();
    events.delete_one(unreadable).await.unwrap();
    let reservation = Uuid::new_v4();
    app.holds(&ids[1], reservation, 4).await.assert_ok();
    let seats = doc! { "$set": { "seats": 3_i64 } };
    let reservations = app.database.collection::<bson::Document>("reservations");
    reservations.update_one(doc! { "_id": reservation.to_string() }, seats).await.unwrap();

    assert_eq!(scan.step(store, 1).await.unwrap(), 1, "the next event, not the first one again");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_rejects_counters_that_do_not_add_up() {
    let app = TestApp::start().await;
    let id = app.sells(10).await;
    let events = app.database.collection::<bson::Document>("events");

    for wrong in [doc! { "available": -1_i64 }, doc! { "available": 11_i64 }, doc! { "sold": 1_i64 }] {
        let update = doc! { "$set": wrong };
        assert!(events.update_one(doc! { "_id": &id }, update).await.is_err());
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_died_in_a_transaction_does_not_keep_its_event_locked() {
    let app = TestApp::start().await;
    let id = app.sells(10).await;
    let events = app.database.collection::<bson::Document>("events");
    let mut session = app.database.client().start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let write = events.update_one(doc! { "_id": &id }, doc! { "$set": { "venue": "Nowhere" } });
    write.session(&mut session).await.unwrap();
    let long_ago = bson::DateTime::from(app.app.state.store.now().await.unwrap() - TimeDelta::minutes(1));
    let dead = doc! { "_id": "dead", "sessions": [session.id().clone()], "seen_at": long_ago };
    app.database.collection::<bson::Document>("replicas").insert_one(dead).await.unwrap();

    app.app.spawn();
    let began = Instant::now();
    app.holds(&id, Uuid::new_v4(), 1).await.assert_ok();

    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(app.event(&id).await.details.venue, "Town Hall");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_registers_itself_with_its_sessions() {
    let app = TestApp::start().await;
    let id = app.sells(10).await;
    app.holds(&id, Uuid::new_v4(), 1).await.assert_ok();
    app.holds(&id, Uuid::new_v4(), 1).await.assert_ok();

    let replicas = app.database.collection::<bson::Document>("replicas");
    let known: Vec<_> = replicas.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].get_array("sessions").unwrap().len(), 1, "sequential transactions need only one session");
    app.end().await;
}
