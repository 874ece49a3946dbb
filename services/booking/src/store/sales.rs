//! Attendees and sales of an event, for its organizer.
//!
//! A booking counts as sold while it is Confirmed, and as cancelled if it was paid for (or free) before it ended.

use chrono::NaiveDateTime;
use chrono_tz::Tz;

use super::Store;
use crate::domain::{
    Attendee, BookingStatus, DaySales, EventSales,
    sales::{self, Day},
};

/// A booking without an attendee key.
#[derive(Clone, Debug)]
pub struct UnindexedAttendee {
    pub id: i32,
    pub user_name: String,
    pub user_email: String,
}

impl Store {
    /// Bookings of an event that are Confirmed, or were until the event was cancelled, with ids below `before`, newest
    /// first. Each of the folded terms must be part of the name or the e-mail address; a single term may be a booking id.
    pub async fn list_attendees(
        &self,
        event_id: &str,
        terms: Option<&[String]>,
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
            terms,
            before,
            limit,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Up to `limit` bookings without an attendee key, oldest first.
    pub async fn list_unindexed_attendees(&self, limit: i64) -> sqlx::Result<Vec<UnindexedAttendee>> {
        sqlx::query_as!(
            UnindexedAttendee,
            "select id, user_name, user_email from bookings where attendee_key is null order by id limit $1",
            limit
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Stores the keys of bookings whose names and e-mail addresses are unchanged; returns how many.
    pub async fn store_attendee_keys(&self, rows: &[UnindexedAttendee], keys: &[String]) -> sqlx::Result<u64> {
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

    /// Sales of an event by day in `zone`, without days that have none.
    ///
    /// The days are computed here, because the database may know other time zones, or other names of them.
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
        // Bucket 0 is before the first day and has no bookings.
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

    /// The days from an event's first booking to its last, and one more for bookings that arrive meanwhile.
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

    /// Sales of an organizer by event and currency, following `after`.
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
