//! What organizers ask: who comes to an event, and what it has brought in.
//!
//! A booking is *sold* while it is Confirmed, and was *cancelled* if it had been paid for (or was free) before it ended.

use chrono::NaiveDateTime;
use chrono_tz::Tz;

use super::Store;
use crate::domain::{
    Attendee, BookingStatus, DaySales, EventSales,
    sales::{self, Day},
};

/// A booking without a search key for its attendee.
#[derive(Clone, Debug)]
pub struct Keyless {
    /// The booking's number.
    pub id: i32,
    /// The owner's name.
    pub user_name: String,
    /// The owner's e-mail address.
    pub user_email: String,
}

impl Store {
    /// Bookings of an event that are Confirmed, or were until the event was cancelled, newest first, with numbers below
    /// `before`. Each of the folded words must be part of the name or the address; a single word may be a booking's
    /// number.
    pub async fn list_attendees(
        &self,
        event_id: &str,
        words: Option<&[String]>,
        before: Option<i32>,
        limit: i64,
    ) -> sqlx::Result<Vec<Attendee>> {
        sqlx::query_as!(
            Attendee,
            r#"select id as booking_id, user_name as name, user_email as email, seats, amount as "amount!",
                   currency as "currency!", status as "status: BookingStatus", created_at at time zone 'utc' as "created_at!"
               from bookings
               where event_id = $1 and ($3::integer is null or id < $3)
                   and (status = 'Confirmed' or status = 'Cancelled' and cancel_reason = 'event_cancelled'
                        and payment_status in ('Paid', 'Refunded'))
                   and ($2::text[] is null or array[id::text] = $2
                        -- A row without a key was written just now, by a replica that knows none.
                        or (select bool_and(strpos(coalesce(attendee_key, lower(user_name || ' ' || user_email)), word) > 0)
                            from unnest($2) word))
               order by id desc limit $4"#,
            event_id,
            words,
            before,
            limit,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Up to `limit` bookings without a search key, oldest first.
    pub async fn list_without_attendee_key(&self, limit: i64) -> sqlx::Result<Vec<Keyless>> {
        sqlx::query_as!(
            Keyless,
            "select id, user_name, user_email from bookings where attendee_key is null order by id limit $1",
            limit
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Stores the keys of bookings whose names and addresses have not changed since they were read; returns how many.
    pub async fn store_attendee_keys(&self, rows: &[Keyless], keys: &[String]) -> sqlx::Result<u64> {
        let ids: Vec<i32> = rows.iter().map(|row| row.id).collect();
        let names: Vec<String> = rows.iter().map(|row| row.user_name.clone()).collect();
        let emails: Vec<String> = rows.iter().map(|row| row.user_email.clone()).collect();
        let result = sqlx::query!(
            "update bookings set attendee_key = made.key
             from unnest($1::integer[], $2::text[], $3::text[], $4::text[]) as made (id, name, email, key)
             where bookings.id = made.id and attendee_key is null and user_name = made.name and user_email = made.email",
            &ids,
            &names,
            &emails,
            keys,
        )
        .execute(&self.pool)
        .await?;
        Ok(result.rows_affected())
    }

    /// Seats of an event sold on each day in `zone`; days without sales are left out.
    ///
    /// The days are computed here, because the database may know other zones, or other names for them.
    pub async fn list_sales_by_day(&self, event_id: &str, zone: Tz) -> sqlx::Result<Vec<DaySales>> {
        let days = self.list_days(event_id, zone).await?;
        let begins_at: Vec<NaiveDateTime> = days.iter().map(|day| day.begins_at.naive_utc()).collect();
        let rows = sqlx::query!(
            r#"select width_bucket(created_at, $2::timestamp[]) as "day!", currency as "currency!",
                   coalesce(sum(seats) filter (where status = 'Confirmed'), 0) as "seats!",
                   coalesce(sum(amount) filter (where status = 'Confirmed'), 0)::bigint as "amount!",
                   coalesce(sum(seats) filter (where status = 'Cancelled'), 0) as "cancelled_seats!",
                   coalesce(sum(amount) filter (where status = 'Cancelled'), 0)::bigint as "cancelled_amount!"
               from bookings
               where event_id = $1 and status in ('Confirmed', 'Cancelled') and payment_status in ('Paid', 'Refunded')
               group by 1, 2 order by 1, 2"#,
            event_id,
            &begins_at,
        )
        .fetch_all(&self.pool)
        .await?;
        // Bucket 0 is the time before the first day, which has no bookings.
        let day = |bucket: i32| usize::try_from(bucket - 1).ok().and_then(|at| days.get(at));
        let sales = rows.into_iter().filter_map(|row| {
            Some(DaySales {
                date: day(row.day)?.date,
                currency: row.currency,
                seats: row.seats,
                amount: row.amount,
                cancelled_seats: row.cancelled_seats,
                cancelled_amount: row.cancelled_amount,
            })
        });
        Ok(sales.collect())
    }

    /// The days from an event's first booking to its last, and one more for bookings made meanwhile.
    async fn list_days(&self, event_id: &str, zone: Tz) -> sqlx::Result<Vec<Day>> {
        let span = sqlx::query!(
            "select min(created_at) as first, max(created_at) as last from bookings where event_id = $1",
            event_id
        )
        .fetch_one(&self.pool)
        .await?;
        let (first, last) = (span.first.map(|at| at.and_utc()), span.last.map(|at| at.and_utc()));
        Ok(first.zip(last).map_or_else(Vec::new, |(first, last)| sales::days(zone, first, last)))
    }

    /// What each event of an organizer has brought in, by event and currency, those after `after`.
    pub async fn list_sales_of_organizer(
        &self,
        organizer_id: i32,
        after: Option<(String, String)>,
        limit: i64,
    ) -> sqlx::Result<Vec<EventSales>> {
        let (event_id, currency) = after.unwrap_or_default();
        sqlx::query_as!(
            EventSales,
            r#"select event_id, currency as "currency!",
                   coalesce(sum(seats) filter (where status = 'Confirmed'), 0) as "seats!",
                   coalesce(sum(amount) filter (where status = 'Confirmed'), 0)::bigint as "amount!",
                   coalesce(sum(seats) filter (where status = 'Cancelled'), 0) as "cancelled_seats!",
                   coalesce(sum(amount) filter (where status = 'Cancelled'), 0)::bigint as "cancelled_amount!"
               from bookings
               where organizer_id = $1 and (event_id, currency) > ($2, $3)
                   and status in ('Confirmed', 'Cancelled') and payment_status in ('Paid', 'Refunded')
               group by event_id, currency order by event_id, currency limit $4"#,
            organizer_id,
            event_id,
            currency,
            limit,
        )
        .fetch_all(&self.pool)
        .await
    }
}
