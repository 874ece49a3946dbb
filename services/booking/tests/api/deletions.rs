//! Deleted accounts: bookings are cancelled, names and e-mail addresses are erased, and new bookings are refused.

use booking_service::loops::backfill;
use chrono::TimeDelta;
use contracts::{
    identity::Role,
    message::{EventFact, Message, UserFact},
};
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{
    helpers::{ALICE, BOB, TestApp, wait_for},
    neighbours::{Fault, ORGANIZER},
};

/// An older replica, which knows of no deletions, inserts a booking of Bob for the event of the only booking.
const OLDER_REPLICA_INSERTS: &str = "
    insert into bookings (user_id, event_id, seats, user_name, user_email, operation_id, reservation_id)
    select 12, event_id, 1, 'User 12', 'user12@example.org', gen_random_uuid(), gen_random_uuid() from bookings";

impl TestApp {
    /// The message that this user's account was deleted.
    pub(crate) fn account_deleted(&self, user_id: i32) -> Message {
        Message::UserDeleted(UserFact { user_id, occurred_at: self.clock().now() })
    }

    /// Consumes the message that this user's account was deleted.
    async fn deletes_account(&self, user_id: i32) {
        self.receives(Uuid::new_v4(), self.account_deleted(user_id)).await;
    }

    /// Lets the time pass in which requests from before the deletion may still arrive.
    async fn requests_from_before_are_over(&self) {
        self.execute("update account_deletions set received_at = received_at - interval '121 seconds'").await;
    }

    /// The names of the tables in which a text occurs anywhere, also in bytes.
    async fn tables_with(&self, text: &str) -> Vec<String> {
        let tables: Vec<String> = sqlx::query_scalar(
            "select table_name::text from information_schema.tables where table_schema = 'public' order by 1",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        let mut found = Vec::new();
        for table in tables {
            let sql = format!(
                "select count(*) from \"{table}\" as t
                 where strpos(lower(t::text), lower($1::text)) > 0
                     or strpos(t::text, encode(convert_to($1::text, 'utf8'), 'hex')) > 0"
            );
            let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).bind(text).fetch_one(&self.pool).await.unwrap();
            if count > 0 {
                found.push(table);
            }
        }
        found
    }

    async fn unfinished(&self) -> i64 {
        self.state().store.measure().await.unwrap().unfinished_deletions
    }

    /// Waits until a statement waits for another transaction.
    async fn statement_waits(&self) {
        let sql = "select true from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        wait_for("a statement waits", async || {
            sqlx::query_scalar::<_, bool>(sql).fetch_optional(&self.pool).await.unwrap()
        })
        .await;
    }
}

#[tokio::test]
async fn a_deletion_cancels_and_refunds_future_bookings_and_erases_names() {
    let app = TestApp::start().await;
    let over = app.neighbours.event(10, 2500);
    app.neighbours.world().events.get_mut(&over).unwrap().starts_at = app.clock().now() + TimeDelta::hours(1);
    let past = app.buys(&over, 1).await;
    app.clock().advance(TimeDelta::hours(2));
    let (event, for_free, soon) =
        (app.neighbours.event(10, 2500), app.neighbours.event(10, 0), app.neighbours.event(10, 3000));
    app.neighbours.world().events.get_mut(&soon).unwrap().starts_at = app.clock().now() + TimeDelta::hours(2);
    let pending = app.booking_request(ALICE, &event, 1).key("k").send().await.id();
    let (paid, free, within_deadline) =
        (app.buys(&event, 2).await, app.books(&for_free, 2).await, app.buys(&soon, 1).await);
    let ended = app.buys(&event, 1).await;
    app.cancel_request(ALICE, ended).send().await;
    let theirs = app.booking_request(BOB, &event, 1).key("k").send().await.id();
    app.cancel_request(ALICE, within_deadline).send().await.assert_refused(409, "cancel_deadline_passed");
    assert_eq!(app.tables_with("User 11").await, ["bookings", "tickets"]);

    app.deletes_account(ALICE).await;
    app.sweeps().await;

    app.stands(pending, "Cancelled", "Unpaid").await;
    app.stands(paid, "Cancelled", "Refunded").await;
    app.stands(free, "Cancelled", "Paid").await;
    app.stands(within_deadline, "Cancelled", "Refunded").await;
    app.stands(past, "Confirmed", "Paid").await;
    app.stands(theirs, "Pending", "Unpaid").await;
    assert_eq!((app.neighbours.refunded(paid), app.neighbours.refunded(within_deadline)), (5000, 3000));
    assert_eq!(app.messages_about(paid).await, ["booking.confirmed", "booking.cancelled", "booking.refunded"]);
    for text in ["User 11", "user11@example.org"] {
        assert_eq!(app.tables_with(text).await, Vec::<String>::new(), "{text}");
    }
    assert_eq!(app.tables_with("User 12").await, ["bookings"]);
    let (answers, others): (i64, i64) =
        app.row("select count(*) filter (where user_id = $1), count(*) from idempotency_keys", ALICE).await;
    assert_eq!((answers, others), (0, 1));
    app.is_consistent().await;
}

#[tokio::test]
async fn a_deletion_leaves_a_booking_whose_ticket_was_used_until_the_check_in_is_undone() {
    let app = TestApp::start().await;
    let event = app.event_tonight(10, 2500);
    let booking = app.buys(&event, 2).await;
    let ticket = app.tickets(booking).await.remove(0);
    let organizer = app.token_as(ORGANIZER, Role::Organizer);
    let scan = json!({ "event_id": event, "code": ticket["code"] });
    app.post("/tickets/check-ins", scan).bearer(&organizer).send().await.assert_ok();

    app.deletes_account(ALICE).await;
    app.requests_from_before_are_over().await;
    app.sweeps().await;

    app.stands(booking, "Confirmed", "Paid").await;
    assert_eq!(app.unfinished().await, 0, "nothing more is to be done");
    assert_eq!(app.tables_with("User 11").await, Vec::<String>::new());
    let undone = app.delete(&format!("/tickets/check-ins/{}", ticket["id"])).bearer(&organizer).send().await;
    assert_eq!((undone.status.as_u16(), app.unfinished().await), (204, 1));
    app.sweeps().await;
    app.sweeps().await;
    app.stands(booking, "Cancelled", "Refunded").await;
    assert_eq!(app.unfinished().await, 0);
    app.is_consistent().await;
}

#[tokio::test]
async fn a_deletion_is_finished_when_nothing_is_open_and_two_minutes_have_passed() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    app.neighbours.always("refund", Fault::Fails);
    app.deletes_account(ALICE).await;
    app.requests_from_before_are_over().await;

    app.sweeps().await;
    app.sweeps().await;
    let while_refund_fails = app.unfinished().await;
    app.neighbours.recover();
    app.execute("update account_deletions set received_at = now()").await;
    app.sweeps().await;
    app.sweeps().await;
    let too_early = app.unfinished().await;
    app.requests_from_before_are_over().await;
    app.sweeps().await;

    assert_eq!((while_refund_fails, too_early, app.unfinished().await), (1, 1, 0));
    app.stands(booking, "Cancelled", "Refunded").await;
    app.leases_end().await;
    assert_eq!(app.state().store.claim_account_deletions(10).await.unwrap(), Vec::<i32>::new());
}

#[tokio::test]
async fn a_deletion_waits_for_a_payment_under_way_and_refunds_it() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.pays(booking, "pm_mock_late").await;
    app.deletes_account(ALICE).await;
    app.requests_from_before_are_over().await;

    app.sweeps().await;
    let waiting = app.standing(booking).await;
    let name_is_left = app.tables_with("User 11").await;
    app.neighbours.decide(&app.neighbours.charge_of(booking));
    for _ in 0..3 {
        app.sweeps().await;
    }

    assert_eq!(waiting, ("Pending".to_owned(), "Unpaid".to_owned()));
    assert_eq!(name_is_left, Vec::<String>::new());
    app.stands(booking, "Cancelled", "Refunded").await;
    assert_eq!(app.neighbours.refunded(booking), 5000);
    assert_eq!(app.unfinished().await, 0);
    app.is_consistent().await;
}

#[tokio::test]
async fn a_deleted_account_cannot_book() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    app.deletes_account(ALICE).await;

    app.booking_request(ALICE, &event, 2).send().await.assert_refused(401, "session_over");
    app.booking_request(ALICE, &event, 2).key("k").send().await.assert_refused(401, "session_over");

    let (bookings,): (i64,) = app.row("select count(*) from bookings where user_id = $1", ALICE).await;
    assert_eq!((bookings, app.neighbours.calls("hold")), (0, 0));
    assert_eq!(app.booking_request(BOB, &event, 2).send().await.status, 201);
}

#[tokio::test]
async fn a_booking_that_an_older_replica_makes_after_the_deletion_is_cancelled_too() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    app.deletes_account(BOB).await;
    app.sweeps().await;
    let booking = app.books(&event, 2).await;
    app.row::<(i32,)>("update bookings set user_id = 12, user_name = 'User 12' where id = $1 returning id", booking)
        .await;

    app.requests_from_before_are_over().await;
    app.sweeps().await;
    app.sweeps().await;

    app.stands(booking, "Cancelled", "Unpaid").await;
    assert_eq!(app.neighbours.seats(&event, "held"), 0);
    assert_eq!((app.tables_with("User 12").await, app.unfinished().await), (vec![], 0));
}

#[tokio::test]
async fn a_booking_that_an_older_replica_inserts_after_a_finished_deletion_reopens_it() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    app.books(&event, 1).await;
    app.deletes_account(BOB).await;
    app.requests_from_before_are_over().await;
    app.sweeps().await;
    let finished = app.unfinished().await;

    app.execute(OLDER_REPLICA_INSERTS).await;
    let reopened = app.unfinished().await;
    app.sweeps().await;
    app.sweeps().await;

    assert_eq!((finished, reopened, app.unfinished().await), (0, 1, 0));
    let (status,): (String,) = app.row("select status from bookings where user_id = $1", BOB).await;
    assert_eq!((status.as_str(), app.tables_with("User 12").await), ("Cancelled", vec![]));
}

#[tokio::test]
async fn a_booking_that_is_inserted_while_the_deletion_finishes_keeps_it_open() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    app.books(&event, 1).await;
    app.deletes_account(BOB).await;
    app.requests_from_before_are_over().await;
    let mut older_replica = app.pool.begin().await.unwrap();
    sqlx::query(OLDER_REPLICA_INSERTS).execute(&mut *older_replica).await.unwrap();

    let (store, now) = (app.state().store.clone(), app.clock().now());
    let finishing = tokio::spawn(async move { store.finish_account_deletion(BOB, now).await.unwrap() });
    app.statement_waits().await;
    older_replica.commit().await.unwrap();

    assert!(!finishing.await.unwrap());
    assert_eq!(app.unfinished().await, 1);
}

#[tokio::test]
async fn moving_a_past_event_to_the_future_reopens_the_deletion_and_refunds_the_booking() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    app.clock().advance(TimeDelta::days(61));
    app.deletes_account(ALICE).await;
    app.requests_from_before_are_over().await;
    app.sweeps().await;
    let finished = app.unfinished().await;
    app.stands(booking, "Confirmed", "Paid").await;

    let moved = EventFact { changed: vec!["starts_at".to_owned()], ..app.event_fact(&event, "Concert", 5) };
    app.receives(Uuid::new_v4(), Message::EventChanged(moved)).await;
    let reopened = app.unfinished().await;
    app.sweeps().await;
    app.sweeps().await;

    assert_eq!((finished, reopened, app.unfinished().await), (0, 1, 0));
    app.stands(booking, "Cancelled", "Refunded").await;
    assert_eq!(app.neighbours.refunded(booking), 5000);
    app.is_consistent().await;
}

#[tokio::test]
async fn two_events_of_the_same_deleted_accounts_are_moved_at_once_without_a_deadlock() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    app.buys(&event, 1).await;
    app.execute(
        "insert into bookings (user_id, event_id, seats, user_name, user_email, operation_id, reservation_id,
             status, payment_status, event_starts_at)
         select 101 + n % 2, case when n < 2 then 'one' else 'two' end, 1, '', '', gen_random_uuid(), gen_random_uuid(),
             status, payment_status, now()
         from bookings, generate_series(0, 3) n",
    )
    .await;
    app.execute(
        "insert into account_deletions (user_id, deleted_at, finished_at)
         select n, now(), now() from generate_series(101, 102) n",
    )
    .await;
    let moves = "update bookings set event_starts_at = event_starts_at + interval '1 day'
                 where event_id = $1 and user_id = $2";
    let mut one = app.pool.begin().await.unwrap();
    sqlx::query(moves).bind("one").bind(101).execute(&mut *one).await.unwrap();

    let mut two = app.pool.begin().await.unwrap();
    let other = tokio::spawn(async move {
        for user_id in [102, 101] {
            sqlx::query(moves).bind("two").bind(user_id).execute(&mut *two).await.unwrap();
        }
        two.commit().await.unwrap();
    });
    app.statement_waits().await;
    sqlx::query(moves).bind("one").bind(102).execute(&mut *one).await.unwrap();
    one.commit().await.unwrap();
    other.await.unwrap();

    assert_eq!(app.unfinished().await, 2);
}

#[tokio::test]
async fn a_deleted_account_cannot_pay() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.books(&event, 2).await;
    app.deletes_account(ALICE).await;

    app.pays(booking, "pm_card_visa").await.assert_refused(401, "session_over");
    app.sweeps().await;

    assert_eq!((app.neighbours.charged(booking), app.neighbours.calls("charge")), ((0, 0), 0));
    app.stands(booking, "Cancelled", "Unpaid").await;
    app.is_consistent().await;
}

#[tokio::test]
async fn a_redelivered_message_changes_nothing() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    let (id, message) = (Uuid::new_v4(), app.account_deleted(ALICE));
    app.receives(id, message.clone()).await;
    app.requests_from_before_are_over().await;
    app.sweeps().await;
    app.sweeps().await;
    let row = "select user_id, deleted_at::text, finished_at::text from account_deletions where user_id = $1";
    let before: (i32, String, String) = app.row(row, ALICE).await;

    app.receives(id, message.clone()).await;
    app.clock().advance(TimeDelta::minutes(1));
    app.deletes_account(ALICE).await;
    app.sweeps().await;

    assert_eq!(app.row::<(i32, String, String)>(row, ALICE).await, before);
    assert_eq!(app.messages_about(booking).await, ["booking.confirmed", "booking.cancelled", "booking.refunded"]);
    assert_eq!(app.neighbours.refunded(booking), 5000);
}

#[tokio::test]
async fn past_bookings_of_a_deleted_account_have_no_name_and_are_not_found_by_search() {
    let app = TestApp::start().await;
    let event = app.neighbours.event(10, 2500);
    let booking = app.buys(&event, 2).await;
    app.clock().advance(TimeDelta::days(61));
    app.deletes_account(ALICE).await;
    app.sweeps().await;
    let path = format!("/bookings/events/{event}/attendees");
    let organizer = app.token_as(ORGANIZER, Role::Organizer);

    let made = backfill::attendee_keys(&app.state().store, 100).await.unwrap();
    let all = app.get(&path).bearer(&organizer).send().await;
    let found = app.get(&format!("{path}?search=user")).bearer(&organizer).send().await;

    assert_eq!(made, 0, "erased rows have their key");
    let attendee = &all.body["items"][0];
    assert_eq!(
        (&attendee["booking_id"], &attendee["name"], &attendee["email"]),
        (&json!(booking), &json!(""), &json!(""))
    );
    assert_eq!(found.body["items"], json!([]));
}
