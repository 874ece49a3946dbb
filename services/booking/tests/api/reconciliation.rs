//! The reconciler repairs drift where that is safe, and counts it where it is not.

use std::collections::BTreeMap;

use booking_service::loops::{
    gauges,
    reconciler::{self, ReconcileScan},
};
use platform::Lifecycle;
use strum::VariantArray;
use uuid::Uuid;

use crate::{
    helpers::{ALICE, TestApp, wait_for},
    neighbours::{Fault, Intent, Reservation},
};

const SETTLES: [&str; 2] = [
    "update bookings set updated_at = now() - interval '2 minutes'",
    "update payments set updated_at = now() - interval '2 minutes'",
];

impl TestApp {
    /// Runs a whole cycle of every scan, long after the last change.
    async fn reconciles(&self) {
        for sql in SETTLES {
            self.execute(sql).await;
        }
        self.reconciles_at_once().await;
    }

    async fn reconciles_at_once(&self) {
        for &scan in ReconcileScan::VARIANTS {
            self.execute("update patrols set next_round_at = now(), position = null").await;
            assert!(reconciler::compare_next_page(self.state(), scan).await.unwrap());
        }
    }

    /// The number of findings by kind.
    async fn findings(&self) -> BTreeMap<String, i64> {
        let counted: Vec<(String, i64)> =
            sqlx::query_as("select kind, count(*) from findings group by kind").fetch_all(&self.pool).await.unwrap();
        counted.into_iter().collect()
    }

    async fn finds(&self, kind: &str) {
        assert_eq!(self.findings().await, BTreeMap::from([(kind.to_owned(), 1)]));
    }

    async fn finds_nothing(&self) {
        assert_eq!(self.findings().await, BTreeMap::new());
    }

    async fn reservation(&self, booking: i32) -> Uuid {
        self.row::<(Uuid,)>("select reservation_id from bookings where id = $1", booking).await.0
    }

    async fn set_reservation(&self, booking: i32, state: &'static str) {
        let id = self.reservation(booking).await;
        self.neighbours.world().reservations.get_mut(&id).unwrap().state = state;
    }
}

#[tokio::test]
async fn consistent_rows_are_left_alone() {
    let app = TestApp::start().await;
    let (event, free) = (app.neighbours.event(50, 2500), app.neighbours.event(50, 0));
    app.buys(&event, 2).await;
    app.books(&event, 1).await;
    app.books(&free, 1).await;
    let cancelled = app.buys(&event, 3).await;
    app.cancel_request(ALICE, cancelled).send().await;
    let late = app.books(&event, 1).await;
    app.pays(late, "pm_mock_late").await;
    let declined = app.books(&event, 1).await;
    app.pays(declined, "pm_card_visa_chargeDeclined").await;
    app.sweeps().await;
    let before = app.neighbours.calls("confirm") + app.neighbours.calls("release");

    app.reconciles_at_once().await;
    app.reconciles().await;
    app.holds_end().await;
    app.sweeps().await;
    let after = app.neighbours.calls("confirm") + app.neighbours.calls("release");
    app.reconciles().await;

    app.finds_nothing().await;
    assert_eq!(app.neighbours.calls("confirm") + app.neighbours.calls("release"), after);
    assert_eq!(after - before, 3, "calls by the sweepers for the expired holds");
    app.is_consistent().await;
}

#[tokio::test]
async fn seats_of_an_ended_booking_are_released_by_the_sweeper() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    app.cancel_request(ALICE, booking).send().await;
    app.set_reservation(booking, "confirmed").await;

    app.reconciles().await;
    assert_eq!(app.neighbours.seats(&event, "confirmed"), 2);
    app.sweeps().await;

    assert_eq!(app.neighbours.seats(&event, "confirmed"), 0);
    app.reconciles().await;
    app.finds_nothing().await;
    app.is_consistent().await;
}

#[tokio::test]
async fn an_expired_booking_that_is_still_being_paid_keeps_its_new_seats() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let (booking, _) = app.pays_late(&event).await;
    // As if the payment had just confirmed new seats, and had not stored that yet.
    app.set_reservation(booking, "confirmed").await;

    app.reconciles().await;
    app.sweeps_what_is_due().await;

    assert_eq!(app.neighbours.seats(&event, "confirmed"), 2);
    app.finds_nothing().await;
}

#[tokio::test]
async fn held_seats_of_a_confirmed_booking_are_confirmed() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    app.set_reservation(booking, "held").await;

    app.reconciles().await;

    assert_eq!(app.neighbours.seats(&event, "confirmed"), 2);
    app.finds_nothing().await;
    app.is_consistent().await;
}

#[tokio::test]
async fn a_confirmed_booking_without_seats_is_counted_until_it_has_them() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let (released, vanished) = (app.buys(&event, 2).await, app.buys(&event, 1).await);
    app.set_reservation(released, "released").await;
    let id = app.reservation(vanished).await;
    let reservation = app.neighbours.world().reservations.remove(&id).unwrap();

    app.reconciles_at_once().await;
    app.finds_nothing().await;
    app.reconciles().await;
    assert_eq!(app.findings().await, BTreeMap::from([("booking_without_seats".to_owned(), 2)]));
    app.set_reservation(released, "confirmed").await;
    app.neighbours.world().reservations.insert(id, reservation);
    app.reconciles().await;

    app.finds_nothing().await;
}

#[tokio::test]
async fn confirmed_seats_without_booking_or_payment_are_counted() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let other = Reservation { event_id: event.clone(), seats: 1, state: "confirmed", expires_at: None };
    app.neighbours.world().reservations.insert(Uuid::new_v4(), other);
    let booking = app.books(&event, 1).await;
    app.set_reservation(booking, "confirmed").await;
    let differing = app.buys(&event, 1).await;
    let id = app.reservation(differing).await;
    app.neighbours.world().reservations.get_mut(&id).unwrap().seats = 2;

    app.reconciles().await;

    let kinds = ["seats_differ", "seats_without_booking", "seats_without_payment"];
    assert_eq!(app.findings().await, kinds.into_iter().map(|kind| (kind.to_owned(), 1)).collect());
}

#[tokio::test]
async fn charges_without_a_matching_payment_are_counted() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    let charge = app.neighbours.charge_of(booking);
    let stray: Intent = app.neighbours.world().intents[&charge].clone();
    app.neighbours.world().intents.insert("pi_stray".to_owned(), stray);

    app.reconciles().await;
    app.finds("charge_without_payment").await;
    app.neighbours.world().intents.remove("pi_stray");
    app.neighbours.world().intents.get_mut(&charge).unwrap().amount = 1;
    app.reconciles().await;
    app.finds("amounts_differ").await;
    app.neighbours.world().intents.get_mut(&charge).unwrap().status = "canceled";
    app.reconciles().await;

    app.finds("payment_without_charge").await;
}

#[tokio::test]
async fn a_charge_decided_unnoticed_is_settled_by_the_sweeper() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.pays(booking, "pm_mock_late").await;
    app.neighbours.decide(&app.neighbours.charge_of(booking));
    app.execute("update payments set lease_until = null, next_check_at = now() + interval '1 day'").await;
    app.sweeps_what_is_due().await;
    app.stands(booking, "Pending", "Unpaid").await;

    app.reconciles().await;
    app.sweeps_what_is_due().await;

    app.stands(booking, "Confirmed", "Paid").await;
    app.finds_nothing().await;
}

#[tokio::test]
async fn a_transition_without_exactly_one_message_is_counted() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    app.buys(&event, 1).await;
    let (unnotified, twice) = (app.buys(&event, 1).await, app.buys(&event, 1).await);
    sqlx::query("delete from outbox where message ->> 'booking_id' = $1::text")
        .bind(unnotified)
        .execute(&app.pool)
        .await
        .unwrap();
    sqlx::query(
        "insert into outbox (id, message) select gen_random_uuid(), message from outbox
         where message ->> 'booking_id' = $1::text",
    )
    .bind(twice)
    .execute(&app.pool)
    .await
    .unwrap();

    app.reconciles().await;

    assert_eq!(app.findings().await, BTreeMap::from([("wrongly_told".to_owned(), 2)]));
    // Bookings are skipped once their messages may be deleted.
    app.execute("update bookings set created_at = created_at - interval '8 days'").await;
    app.reconciles().await;
    app.finds_nothing().await;
}

#[tokio::test]
async fn a_booking_without_exactly_its_tickets_is_counted_until_it_has_them() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let (lacking, complete, ended) = (app.buys(&event, 2).await, app.buys(&event, 1).await, app.buys(&event, 1).await);
    let pending = app.books(&event, 1).await;
    app.cancel_request(ALICE, ended).send().await.assert_ok();
    let changed = [
        ("delete from tickets where booking_id = $1 and seat = 1", lacking),
        ("update tickets set state = 'valid' where booking_id = $1", ended),
        ("insert into tickets (booking_id, seat, holder_name) values ($1, 1, 'x')", pending),
    ];
    for (sql, booking) in changed {
        sqlx::query(sql).bind(booking).execute(&app.pool).await.unwrap();
    }

    app.reconciles_at_once().await;

    let found: Vec<(String, i32)> =
        sqlx::query_as("select kind, booking_id from findings order by booking_id").fetch_all(&app.pool).await.unwrap();
    assert_eq!(found, [lacking, ended, pending].map(|booking| ("tickets_differ".to_owned(), booking)));
    // What operations.md says to do.
    app.execute("update tickets set state = 'void', version = version + 1 where booking_id in (select id from bookings where status <> 'Confirmed')")
        .await;
    app.execute("update backfills set position = 0, last_id = (select max(id) from bookings) where name = 'tickets'")
        .await;
    app.reconciles_at_once().await;
    app.finds_nothing().await;
    while app.state().store.issue_missing_tickets(100).await.unwrap() {}
    app.reconciles_at_once().await;
    app.finds_nothing().await;
    app.stands(complete, "Confirmed", "Paid").await;
    app.is_consistent().await;
}

#[tokio::test]
async fn a_service_that_does_not_answer_ends_only_the_run() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    app.set_reservation(booking, "released").await;
    app.reconciles().await;
    app.neighbours.always("list_reservations", Fault::Fails);
    app.neighbours.always("list_intents", Fault::Lost);

    app.execute("update patrols set next_round_at = now()").await;
    let (seats, money) = (
        reconciler::compare_next_page(app.state(), ReconcileScan::Reservations).await,
        reconciler::compare_next_page(app.state(), ReconcileScan::Charges).await,
    );

    assert!(seats.is_err() && money.is_err());
    app.finds("booking_without_seats").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_runs_a_scan_and_all_show_its_findings() {
    let app = TestApp::with(&["--reconcile-seconds", "3600"]).await;
    let replica = app.replica();
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    app.set_reservation(booking, "released").await;
    for sql in SETTLES {
        app.execute(sql).await;
    }

    let runs = tokio::join!(
        reconciler::compare_next_page(app.state(), ReconcileScan::Reservations),
        reconciler::compare_next_page(&replica.state, ReconcileScan::Reservations),
    );

    assert!(runs.0.unwrap() != runs.1.unwrap());
    assert_eq!(app.neighbours.calls("list_reservations"), 1);
    let metrics = platform::telemetry::metrics_handle();
    let lifecycle = Lifecycle::new();
    gauges::start(&lifecycle, &replica.state);
    wait_for("it is shown", async || {
        let shown = metrics.render();
        let found = "eventplatform_reconciliation_findings{kind=\"booking_without_seats\"} 1";
        let lag = "eventplatform_reconciliation_lag_seconds{patrol=\"reservations\"}";
        (shown.contains(found) && shown.contains(lag)).then_some(())
    })
    .await;
    lifecycle.stop();
}
