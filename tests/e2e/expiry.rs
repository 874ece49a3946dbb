//! Every hold ends by its expiry + 30 s; money that comes later wins a seat or goes back.

use std::time::Duration;

use anyhow::ensure;
use eventplatform_tests::people::{LATE_CARD, NewEvent};
use eventplatform_tests::programs::Program;
use eventplatform_tests::stack::{Options, Stack};
use eventplatform_tests::wait;
use reqwest::StatusCode;
use sqlx::PgPool;
use tokio::sync::OnceCell;

const HOLD_SECONDS: u64 = 4;
/// Payments settle long after their hold ended.
const LATE_SECONDS: u64 = 16;
const EXPIRY_LIMIT: Duration = Duration::from_secs(HOLD_SECONDS + 30);
const SETTLE_LIMIT: Duration = Duration::from_secs(LATE_SECONDS + 60);

async fn platform_with_short_holds() -> &'static Stack {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    let environment = vec![
        (Program::Booking, "HOLD_SECONDS", HOLD_SECONDS.to_string()),
        (Program::MockGateway, "LATE_SECONDS", LATE_SECONDS.to_string()),
    ];
    let options = Options { environment, ..Options::default() };
    STACK.get_or_init(async || Stack::start(options).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_hold_goes_back_and_its_owner_is_told() {
    let platform = platform_with_short_holds().await;
    let event_id = platform.organizer().await.unwrap().creates(NewEvent::priced(3, 1000)).await.unwrap();
    let attendee = platform.attendee().await.unwrap();

    let booking = attendee.books(&event_id, 3).await.unwrap();

    attendee.sees_become(&booking, "Expired", "Unpaid", EXPIRY_LIMIT).await.unwrap();
    attendee.sees_available(&event_id, 3, EXPIRY_LIMIT).await.unwrap();
    attendee.is_told("booking.expired", &booking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_after_expiry_wins_the_seat_back() {
    let platform = platform_with_short_holds().await;
    let event_id = platform.organizer().await.unwrap().creates(NewEvent::priced(3, 1000)).await.unwrap();
    let attendee = platform.attendee().await.unwrap();
    let booking = attendee.books(&event_id, 1).await.unwrap();

    let payment = attendee.pays(&booking, LATE_CARD).await.unwrap().expect(StatusCode::ACCEPTED).unwrap();

    assert_eq!(payment["status"], "Processing");
    attendee.sees_become(&booking, "Confirmed", "Paid", SETTLE_LIMIT).await.unwrap();
    let path = format!("/payments/{}", payment["id"]);
    let payment = attendee.get(&path).await.unwrap().expect(StatusCode::OK).unwrap();
    assert_eq!(payment["status"], "Succeeded");
    attendee.sees_available(&event_id, 2, EXPIRY_LIMIT).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_after_expiry_is_refunded_when_the_seat_is_gone() {
    let platform = platform_with_short_holds().await;
    let event_id = platform.organizer().await.unwrap().creates(NewEvent::priced(1, 1000)).await.unwrap();
    let (late, quick) = (platform.attendee().await.unwrap(), platform.attendee().await.unwrap());
    let booking = late.books(&event_id, 1).await.unwrap();
    late.pays(&booking, LATE_CARD).await.unwrap().expect(StatusCode::ACCEPTED).unwrap();

    let taken = wait::until("somebody else gets the seat", EXPIRY_LIMIT, async || quick.books(&event_id, 1).await);
    let taken = taken.await.unwrap();
    quick.has_paid(&taken).await.unwrap();

    let gateway = platform.database(Program::MockGateway).await.unwrap();
    wait::until("the money goes back", SETTLE_LIMIT, async || {
        let (charged, refunded) = moved(&gateway, &booking["id"].to_string()).await?;
        ensure!((charged, refunded) == (1000, 1000), "{charged} charged, {refunded} refunded");
        Ok(())
    })
    .await
    .unwrap();
    late.sees_become(&booking, "Expired", "Refunded", Duration::from_secs(30)).await.unwrap();
    late.is_told("booking.refunded", &booking).await.unwrap();
    quick.sees_become(&taken, "Confirmed", "Paid", Duration::from_secs(5)).await.unwrap();
}

/// What the gateway charged and refunded for a booking.
async fn moved(gateway: &PgPool, booking_id: &str) -> anyhow::Result<(i64, i64)> {
    let query = "select coalesce(sum(amount) filter (where kind = 'charge'), 0)::bigint,
                        coalesce(sum(amount) filter (where kind = 'refund'), 0)::bigint
                 from ledger_entries where booking_id = $1";
    Ok(sqlx::query_as(query).bind(booking_id).fetch_one(gateway).await?)
}
