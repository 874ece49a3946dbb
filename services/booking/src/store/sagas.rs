//! Queries over a booking with its attempt and its refund: what one saga is stored as.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::reservation::Hold;
use platform::idempotency::{self, IdempotentRequest};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{LEASE_SECONDS, MAX_BACKOFF_SECONDS, Store, UnitOfWork};
use crate::domain::{
    AttemptState, Booking, BookingStatus, CancelReason, Change, NewBooking, Payment, PaymentStatus, Refund,
    RefundReason, RefundState, saga::SagaRecord, sales::attendee_key,
};

/// A new payment attempt of a Pending booking.
#[derive(Clone, Copy, Debug)]
pub struct NewAttempt<'a> {
    pub user_id: i32,
    pub booking_id: i32,
    /// Prefix of the idempotency keys of calls to the gateway.
    pub gateway_key: Uuid,
    /// The charge that was created for it; `None` if the gateway did not create one.
    pub gateway_id: Option<&'a str>,
    /// The gateway's token of the payment method.
    pub payment_method: &'a str,
    /// Minor units of `currency`; the attempt is refused if the booking's amount is another.
    pub amount: i64,
    /// ISO 4217.
    pub currency: &'a str,
}

/// A saga that a sweeper has to continue, with the rows that it got the lease of.
#[derive(Clone, Copy, Debug)]
pub struct ClaimedSaga {
    pub booking_id: i32,
    pub attempt: bool,
    pub refund: bool,
}

/// The time until something is due; zero if it is due now, `None` if there is nothing.
#[derive(Clone, Copy, Debug)]
pub struct NextDue {
    pub saga: Option<Duration>,
    pub deletion: Option<Duration>,
}

/// The columns of [`SagaRecord`], of `bookings b`, `payments p` and `refunds r`.
#[expect(clippy::struct_excessive_bools, reason = "columns of a query")]
struct Row {
    id: i32,
    user_id: i32,
    event_id: String,
    status: BookingStatus,
    payment_status: PaymentStatus,
    created_at: DateTime<Utc>,
    seats: i32,
    price: Option<i64>,
    amount: Option<i64>,
    currency: Option<String>,
    event_title: Option<String>,
    event_starts_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    reservation_id: Uuid,
    rejection_code: Option<String>,
    rejection_detail: Option<String>,
    cancel_reason: Option<CancelReason>,
    release_pending: bool,
    moved: bool,
    due_at: DateTime<Utc>,
    read_at: DateTime<Utc>,
    payment_id: Option<i32>,
    gateway_key: Option<Uuid>,
    gateway_id: Option<String>,
    payment_method: Option<String>,
    attempt_state: Option<AttemptState>,
    failure_code: Option<String>,
    failure_message: Option<String>,
    payment_amount: Option<i64>,
    payment_currency: Option<String>,
    settled_at: Option<DateTime<Utc>>,
    attempt_leased: bool,
    refund_id: Option<i32>,
    refund_amount: Option<i64>,
    refund_state: Option<RefundState>,
    refund_reason: Option<RefundReason>,
    gateway_refund_id: Option<String>,
    key_version: Option<i32>,
    refund_leased: bool,
}

/// A query that returns [`Row`]s: `$before`, `select` with the columns, `$after`.
macro_rules! sagas {
    ($before:literal, $after:literal $(, $argument:expr)* $(,)?) => {
        sagas!([$before], $after $(, $argument)*)
    };
    ([$($before:literal),+], $after:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            $($before +)+
                r#" select b.id as "id!", b.user_id as "user_id!", b.event_id as "event_id!",
                      b.status as "status!: BookingStatus", b.payment_status as "payment_status!: PaymentStatus",
                      b.created_at at time zone 'utc' as "created_at!", b.seats as "seats!", b.price as "price?",
                      b.amount as "amount?", b.currency as "currency?", b.event_title as "event_title?",
                      b.event_starts_at as "event_starts_at?", b.expires_at as "expires_at?",
                      b.reservation_id as "reservation_id!", b.rejection_code as "rejection_code?",
                      b.rejection_detail as "rejection_detail?", b.cancel_reason as "cancel_reason?: CancelReason",
                      b.release_pending as "release_pending!", b.moved or b.move_untold as "moved!",
                      b.next_check_at as "due_at!", clock_timestamp() as "read_at!",
                      p.id as "payment_id?", p.gateway_key as "gateway_key?", p.gateway_id as "gateway_id?",
                      p.payment_method as "payment_method?", p.state as "attempt_state?: AttemptState",
                      p.failure_code as "failure_code?", p.failure_message as "failure_message?",
                      p.amount as "payment_amount?", p.currency as "payment_currency?", p.settled_at as "settled_at?",
                      coalesce(p.lease_until > clock_timestamp(), false) as "attempt_leased!",
                      r.id as "refund_id?", r.amount as "refund_amount?", r.state as "refund_state?: RefundState",
                      r.reason as "refund_reason?: RefundReason", r.gateway_refund_id as "gateway_refund_id?",
                      r.key_version as "key_version?",
                      coalesce(r.lease_until > clock_timestamp(), false) as "refund_leased!" "#
                + $after
            $(, $argument)*
        )
    };
}

impl From<Row> for SagaRecord {
    fn from(row: Row) -> Self {
        let attempt = row.payment_id.map(|id| Payment {
            id,
            booking_id: row.id,
            gateway_key: row.gateway_key.unwrap_or_default(),
            gateway_id: row.gateway_id,
            payment_method: row.payment_method.unwrap_or_default(),
            state: row.attempt_state.unwrap_or(AttemptState::Started),
            failure_code: row.failure_code,
            failure_message: row.failure_message,
            amount: row.payment_amount.unwrap_or_default(),
            currency: row.payment_currency.unwrap_or_default(),
            settled_at: row.settled_at,
            refund_reason: row.refund_reason,
        });
        let refund = row.refund_id.zip(row.payment_id).map(|(id, payment_id)| Refund {
            id,
            payment_id,
            booking_id: row.id,
            amount: row.refund_amount.unwrap_or_default(),
            state: row.refund_state.unwrap_or(RefundState::Pending),
            gateway_refund_id: row.gateway_refund_id,
            key_version: row.key_version.unwrap_or_default(),
        });
        let booking = Booking {
            id: row.id,
            user_id: row.user_id,
            event_id: row.event_id,
            status: row.status,
            payment_status: row.payment_status,
            created_at: row.created_at,
            seats: row.seats,
            price: row.price,
            amount: row.amount,
            currency: row.currency,
            event_title: row.event_title,
            event_starts_at: row.event_starts_at,
            expires_at: row.expires_at,
            reservation_id: row.reservation_id,
            rejection_code: row.rejection_code,
            rejection_detail: row.rejection_detail,
            cancel_reason: row.cancel_reason,
            release_pending: row.release_pending,
            moved: row.moved,
        };
        let (attempt_leased, refund_leased) = (row.attempt_leased, row.refund_leased);
        Self { booking, attempt, refund, due_at: row.due_at, attempt_leased, refund_leased, read_at: row.read_at }
    }
}

/// [`sagas`] with an insert that also claims the key of a request: both or neither. `$allowed` selects one row, or none
/// if nothing is to be stored; `$insert` is a CTE that needs a row of `claimed` if there is a key to claim, `$4`. The
/// other arguments are `$9` and following.
macro_rules! claiming_sagas {
    ($request:expr, $allowed:literal, $insert:literal, $after:literal $(, $argument:expr)* $(,)?) => {
        sagas!(
            [
                "with allowed as (",
                $allowed,
                "), claimed as (
                     insert into idempotency_keys
                         (user_id, method, path, key, fingerprint, operation_id, lease_token, lease_until)
                     select $1::integer, $2::text, $3::text, $4::text, $5::bytea, $6::uuid, $7::uuid,
                         now() + make_interval(secs => $8)
                     from allowed where $4::text is not null
                     on conflict do nothing
                     returning operation_id
                 ), ",
                $insert
            ],
            $after,
            $request.to_claim().map(|scope| scope.user_id),
            $request.to_claim().map(|scope| scope.method.as_str()),
            $request.to_claim().map(|scope| scope.path.as_str()),
            $request.to_claim().map(|scope| scope.key.as_str()),
            $request.to_claim().map(|scope| scope.fingerprint.as_slice()),
            $request.operation_id(),
            $request.token(),
            idempotency::LEASE.as_secs_f64()
            $(, $argument)*
        )
    };
}

/// The sagas of these bookings.
async fn sagas_of(executor: impl PgExecutor<'_>, booking_ids: &[i32]) -> sqlx::Result<Vec<SagaRecord>> {
    let rows = sagas!(
        "",
        "from bookings b
         left join lateral (
             select * from payments where booking_id = b.id
             order by state in ('started', 'succeeded') desc, id desc limit 1
         ) p on true
         left join refunds r on r.payment_id = p.id
         where b.id = any($1)",
        booking_ids,
    );
    Ok(rows.fetch_all(executor).await?.into_iter().map(SagaRecord::from).collect())
}

impl Store {
    /// Inserts a Pending booking and claims the request's key, or neither: `None` if the key is taken, the operation
    /// inserted a booking before, or the user's account was deleted.
    ///
    /// A sweeper rejects the booking unless the seats are held within `hold_timeout`.
    pub async fn insert_booking(
        &self,
        new: &NewBooking,
        request: &IdempotentRequest,
        hold_timeout: Duration,
    ) -> sqlx::Result<Option<SagaRecord>> {
        let row = claiming_sagas!(
            request,
            "select true where not exists (select from account_deletions where user_id = $9)",
            "b as (
                 insert into bookings
                     (user_id, event_id, seats, user_name, user_email, operation_id, reservation_id, next_check_at,
                      attendee_key)
                 select $9::integer, $10::text, $11::integer, $12::text, $13::text, $6, $14::uuid,
                     now() + make_interval(secs => $15), $16::text
                 from allowed where $4 is null or exists (select from claimed)
                 on conflict (operation_id) do nothing
                 returning *
             )",
            "from b left join payments p on false left join refunds r on false",
            new.user_id,
            new.event_id,
            new.seats,
            new.user_name,
            new.user_email,
            Uuid::new_v4(),
            hold_timeout.as_secs_f64(),
            attendee_key(&new.user_name, &new.user_email),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(SagaRecord::from))
    }

    /// Inserts a payment attempt with a lease, and claims the request's key, or neither: `None` if the key is taken, if
    /// [`Booking::may_pay`] refuses by now, or if the user's account was deleted.
    pub async fn insert_attempt(
        &self,
        new: NewAttempt<'_>,
        request: &IdempotentRequest,
    ) -> sqlx::Result<Option<SagaRecord>> {
        // The lock on the booking keeps its cancellation away. The unique index on live attempts decides between
        // requests that saw none.
        let row = claiming_sagas!(
            request,
            "select * from bookings
             where id = $9 and user_id = $10 and status = 'Pending' and payment_status in ('Unpaid', 'Failed')
                 and amount = $11 and currency = $12 and expires_at > clock_timestamp()
                 and not exists (select from account_deletions where user_id = $10)
             for update",
            "p as (
                 insert into payments
                     (booking_id, operation_id, gateway_key, gateway_id, payment_method, amount, currency, lease_until)
                 select id, $6, $13, $14, $15, amount, currency, now() + make_interval(secs => $16)
                 from allowed where $4 is null or exists (select from claimed)
                 on conflict do nothing
                 returning *
             )",
            "from allowed b join p on true left join refunds r on false",
            new.booking_id,
            new.user_id,
            new.amount,
            new.currency,
            new.gateway_key,
            new.gateway_id,
            new.payment_method,
            LEASE_SECONDS,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(SagaRecord::from))
    }

    pub async fn find_saga(&self, booking_id: i32) -> sqlx::Result<Option<SagaRecord>> {
        Ok(self.list_sagas(&[booking_id]).await?.pop())
    }

    /// The saga of a booking of that user.
    pub async fn find_user_saga(&self, user_id: i32, booking_id: i32) -> sqlx::Result<Option<SagaRecord>> {
        Ok(self.find_saga(booking_id).await?.filter(|saga| saga.booking.user_id == user_id))
    }

    pub async fn list_sagas(&self, booking_ids: &[i32]) -> sqlx::Result<Vec<SagaRecord>> {
        sagas_of(&self.pool, booking_ids).await
    }

    /// The booking that an operation inserted.
    pub async fn find_booking_by_operation(&self, operation_id: Uuid) -> sqlx::Result<Option<i32>> {
        sqlx::query_scalar!("select id from bookings where operation_id = $1", operation_id)
            .fetch_optional(&self.pool)
            .await
    }

    /// Claims up to `limit` sagas that are due for a sweeper.
    pub async fn claim_sagas(&self, limit: i64) -> sqlx::Result<Vec<ClaimedSaga>> {
        sqlx::query_as!(
            ClaimedSaga,
            r#"with due as (
                   (select id, next_check_at from bookings
                    where (status = 'Pending' or release_pending)
                        and next_check_at <= now() and (lease_until is null or lease_until <= now())
                    order by next_check_at limit $1)
                   union all
                   (select booking_id, next_check_at from payments
                    where (state = 'started' or (state = 'succeeded' and settled_at is null))
                        and next_check_at <= now() and (lease_until is null or lease_until <= now())
                    order by next_check_at limit $1)
                   union all
                   (select booking_id, next_check_at from refunds
                    where state = 'pending'
                        and next_check_at <= now() and (lease_until is null or lease_until <= now())
                    order by next_check_at limit $1)
               ), locked as (
                   select id from bookings
                   where id in (select id from due group by id order by min(next_check_at) limit $1)
                   order by id for update skip locked
               ), booking as (
                   update bookings set lease_until = now() + make_interval(secs => $2), checks = checks + 1
                   where id in (select id from locked) and (status = 'Pending' or release_pending)
                       and next_check_at <= now() and (lease_until is null or lease_until <= now())
               ), attempt as (
                   update payments set lease_until = now() + make_interval(secs => $2), checks = checks + 1
                   where booking_id in (select id from locked)
                       and (state = 'started' or (state = 'succeeded' and settled_at is null))
                       and next_check_at <= now() and (lease_until is null or lease_until <= now())
                   returning booking_id
               ), refund as (
                   update refunds set lease_until = now() + make_interval(secs => $2), checks = checks + 1
                   where booking_id in (select id from locked) and state = 'pending'
                       and next_check_at <= now() and (lease_until is null or lease_until <= now())
                   returning booking_id
               )
               select id as "booking_id!", id in (select booking_id from attempt) as "attempt!",
                   id in (select booking_id from refund) as "refund!"
               from locked"#,
            limit,
            LEASE_SECONDS,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// When sweepers have something to do next.
    pub async fn next_due(&self) -> sqlx::Result<NextDue> {
        let row = sqlx::query!(
            r#"select (
                   select extract(epoch from min(due) - now())::double precision from (
                       (select greatest(next_check_at, lease_until) as due from bookings
                        where status = 'Pending' or release_pending order by next_check_at limit 50)
                       union all
                       (select greatest(next_check_at, lease_until) from payments
                        where state = 'started' or (state = 'succeeded' and settled_at is null)
                        order by next_check_at limit 50)
                       union all
                       (select greatest(next_check_at, lease_until) from refunds
                        where state = 'pending' order by next_check_at limit 50)
                   ) as sagas
               ) as saga, (
                   select extract(epoch from min(greatest(next_check_at, lease_until)) - now())::double precision
                   from account_deletions where finished_at is null
               ) as deletion"#
        )
        .fetch_one(&self.pool)
        .await?;
        let duration = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Ok(NextDue { saga: row.saga.map(duration), deletion: row.deletion.map(duration) })
    }

    /// Ends the leases of a run and makes what it could not finish due again later, with exponential backoff. Leases of
    /// other workers stay.
    pub async fn postpone_saga(&self, claimed: ClaimedSaga) -> sqlx::Result<()> {
        sqlx::query!(
            "with locked as (
                 select id from bookings where id = $1 for update
             ), booking as (
                 update bookings set
                     lease_until = null,
                     next_check_at = now() + make_interval(secs => least($4, 0.5 * power(2, least(checks, 6))))
                 where id in (select id from locked)
                     and (release_pending or (status = 'Pending' and next_check_at <= now()))
             ), attempt as (
                 update payments set
                     lease_until = null,
                     next_check_at = now() + make_interval(secs => least($4, 0.5 * power(2, least(checks, 6))))
                 where $2 and booking_id in (select id from locked)
                     and (state = 'started' or (state = 'succeeded' and settled_at is null))
             )
             update refunds set
                 lease_until = null,
                 next_check_at = now() + make_interval(secs => least($4, 0.5 * power(2, least(checks, 6))))
             where $3 and booking_id in (select id from locked) and state = 'pending'",
            claimed.booking_id,
            claimed.attempt,
            claimed.refund,
            MAX_BACKOFF_SECONDS,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

impl UnitOfWork {
    /// Stores the hold of the seats. `None` if the booking no longer waits for it.
    ///
    /// A title and start from a newer message are kept.
    pub async fn store_hold(
        &mut self,
        booking: &Booking,
        hold: &Hold,
        amount: i64,
    ) -> sqlx::Result<Option<SagaRecord>> {
        let row = sagas!(
            "with b as (
                 update bookings set
                     expires_at = $3, price = $4, amount = $5, currency = $6, organizer_id = $7,
                     event_title = case when event_version <= $11 then $8 else event_title end,
                     event_starts_at = case when event_version <= $11 then $9 else event_starts_at end,
                     moved = moved and event_version > $11, move_untold = move_untold and event_version > $11,
                     booked_version = $11, event_version = greatest(event_version, $11),
                     next_check_at = case when $5::bigint = 0 then now() + make_interval(secs => $10) else $3 end,
                     checks = 0, updated_at = now()
                 where id = $1 and reservation_id = $2 and status = 'Pending' and expires_at is null
                 returning *
             )",
            "from b left join payments p on false left join refunds r on false",
            booking.id,
            booking.reservation_id,
            hold.expires_at,
            hold.price,
            amount,
            hold.currency,
            hold.organizer_id,
            hold.event_title,
            hold.starts_at,
            LEASE_SECONDS,
            hold.event_version.unwrap_or(0),
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(row.map(SagaRecord::from))
    }

    /// Stores that a started attempt failed, and the payment status of its booking. With `without_charge`, only if it has
    /// no charge id. `None` if the attempt is in another state.
    pub async fn store_failed(
        &mut self,
        payment: &Payment,
        code: &str,
        message: &str,
        without_charge: bool,
    ) -> sqlx::Result<Option<SagaRecord>> {
        let row = sagas!(
            "with locked as (
                 select id from bookings where id = $1 for update
             ), p as (
                 update payments set
                     state = 'failed', failure_code = $3, failure_message = $4, lease_until = null, updated_at = now()
                 where id = $2 and exists (select from locked) and state = 'started'
                     and (not $5 or gateway_id is null)
                 returning *
             ), b as (
                 update bookings set
                     payment_status = case when payment_status = 'Unpaid' then 'Failed' else payment_status end,
                     updated_at = now()
                 where id = $1 and exists (select from p)
                 returning *
             )",
            "from b join p on true left join refunds r on false",
            payment.booking_id,
            payment.id,
            code,
            message,
            without_charge,
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(row.map(SagaRecord::from))
    }

    /// A user's saga, its booking locked until the end of the transaction.
    pub async fn lock_user_saga(&mut self, user_id: i32, booking_id: i32) -> sqlx::Result<Option<SagaRecord>> {
        // Locked first: what is read in the same statement may be older than the lock.
        let locked =
            sqlx::query!("select from bookings where id = $1 and user_id = $2 for update", booking_id, user_id);
        if locked.fetch_optional(&mut *self.tx).await?.is_none() {
            return Ok(None);
        }
        Ok(sagas_of(&mut *self.tx, &[booking_id]).await?.pop())
    }

    /// Applies a change if the booking is still in the state before it, and settles the attempt that paid for it, in one
    /// statement. `None` if the booking or the attempt changed meanwhile: then nothing must be committed.
    ///
    /// `lease` keeps sweepers away while the caller continues with what the change requires.
    pub async fn apply(
        &mut self,
        change: &Change,
        paid_by: Option<i32>,
        lease: Option<Duration>,
    ) -> sqlx::Result<Option<SagaRecord>> {
        let rejection = change.rejection.as_ref();
        let row = sagas!(
            // Bookings are locked before payments everywhere, so that two transactions cannot deadlock.
            "with locked as (
                 select id from bookings where id = $1 for update
             ), p as (
                 update payments set state = 'succeeded', settled_at = now(), lease_until = null, updated_at = now()
                 where id = $12 and exists (select from locked)
                     and (state = 'started' or (state = 'succeeded' and settled_at is null))
                 returning *
             ), b as (
                 update bookings set
                     status = $5, payment_status = $6,
                     rejection_code = coalesce($7, rejection_code), rejection_detail = coalesce($8, rejection_detail),
                     cancel_reason = coalesce($9, cancel_reason), release_pending = release_pending or $10,
                     lease_until = now() + make_interval(secs => $11), next_check_at = now(), checks = 0,
                     updated_at = now()
                 where id = $1 and reservation_id = $2 and status = $3 and payment_status = $4
                     and ($12::integer is null or exists (select from p))
                 returning *
             )",
            "from b left join p on true left join refunds r on r.payment_id = p.id",
            change.booking_id,
            change.reservation_id,
            change.status.0.into_str(),
            change.payment_status.0.into_str(),
            change.status.1.into_str(),
            change.payment_status.1.into_str(),
            rejection.map(|rejection| rejection.code),
            rejection.map(|rejection| rejection.detail.as_str()),
            change.cancel_reason.map(|reason| reason.into_str()),
            change.release,
            lease.map(|lease| lease.as_secs_f64()),
            paid_by,
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(row.map(SagaRecord::from))
    }
}
