//! The tables of a newer version come while the version before goes on.

use futures::future::join_all;
use sqlx::migrate::Migrator;
use testing::Database;

use crate::helpers::{ALICE, TestApp, wait_for};

/// The newest migration of the version before there were tickets.
const BEFORE_TICKETS: i64 = 11;

impl TestApp {
    async fn migration_waits(&self) {
        let sql = "select true from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        wait_for("the migration waits", async || {
            sqlx::query_scalar::<_, bool>(sql).fetch_optional(&self.pool).await.unwrap()
        })
        .await;
    }
}

/// Booking and paying touch no tickets, so that this version stands for the one before.
#[tokio::test]
async fn bookings_from_before_tickets_get_them_while_older_replicas_confirm_and_cancel() {
    let schema = sqlx::migrate!();
    let older = schema.iter().filter(|migration| migration.version <= BEFORE_TICKETS).cloned().collect();
    let database = Database::migrated("booking", &Migrator::with_migrations(older)).await;
    let app = TestApp::on(database, &["--cancel-deadline-hours", "0"]).await;
    let event = app.neighbours.event(200, 2500);
    let mut before = Vec::new();
    for seats in 1..=6 {
        before.push(app.buys(&event, seats).await);
    }
    let under_way = app.books(&event, 2).await;

    // An older replica is confirming a booking, and others want to, when the tables come.
    let mut confirming = app.pool.begin().await.unwrap();
    let confirm = "update bookings set status = 'Confirmed', payment_status = 'Paid' where id = $1";
    sqlx::query(confirm).bind(under_way).execute(&mut *confirming).await.unwrap();
    let commits = async {
        app.migration_waits().await;
        confirming.commit().await.unwrap();
    };
    let (migrated, (), meanwhile) =
        tokio::join!(schema.run(&app.pool), commits, join_all((1..=4).map(|seats| app.buys(&event, seats))));
    migrated.unwrap();
    let audited = app.state().store.list_ticket_audits(0, 100).await.unwrap();

    // Bookings from before are cancelled, and new ones confirmed, while the backfill is on its way on two replicas.
    let replica = app.replica();
    let fills = async |store: &booking_service::store::Store| while store.issue_missing_tickets(1).await.unwrap() {};
    let cancels = async |booking: i32| app.cancel_request(ALICE, booking).send().await.assert_ok().clone();
    let (.., later) = tokio::join!(
        fills(&app.state().store),
        fills(&replica.state.store),
        cancels(before[5]),
        cancels(before[1]),
        join_all((1..=4).map(|seats| app.buys(&event, seats))),
    );
    fills(&app.state().store).await;

    assert!(audited.iter().all(booking_service::domain::reconciliation::TicketAudit::is_consistent), "{audited:?}");
    assert!(audited.iter().any(|audit| audit.awaits_backfill && audit.ticket_seats.is_empty()), "{audited:?}");
    app.tickets_are_consistent().await;
    for booking in [before[0], under_way, meanwhile[0], later[0]] {
        let tickets = app.tickets(booking).await;
        assert!(!tickets.is_empty() && tickets.iter().all(|ticket| ticket["holder_name"] == "User 11"), "{tickets:?}");
    }
    let (position, last_id): (i32, i32) =
        app.row("select position, last_id from backfills where $1 = $1 and name = 'tickets'", 0).await;
    assert_eq!(position, last_id, "the backfill rests");
}
