//! What organizers ask: who comes to an event, and what it has brought in.
//!
//! A booking is *sold* while it is Confirmed, and was *cancelled* if it had been paid for (or was free) before it ended.

use super::Store;
use crate::domain::{Attendee, DaySales, EventSales};

impl Store {
    /// Confirmed bookings of an event, newest first, with numbers below `before`. `search` is part of a name or an
    /// address, or the number of a booking.
    pub async fn list_attendees(
        &self,
        event_id: &str,
        search: Option<&str>,
        before: Option<i32>,
        limit: i64,
    ) -> sqlx::Result<Vec<Attendee>> {
        sqlx::query_as!(
            Attendee,
            r#"select id as booking_id, user_name as name, user_email as email, seats, amount as "amount!",
                   currency as "currency!", created_at at time zone 'utc' as "created_at!"
               from bookings
               where event_id = $1 and status = 'Confirmed' and ($3::integer is null or id < $3)
                   and ($2::text is null or id::text = $2
                        or strpos(lower(user_name), lower($2)) > 0 or strpos(lower(user_email), lower($2)) > 0)
               order by id desc limit $4"#,
            event_id,
            search,
            before,
            limit,
        )
        .fetch_all(&self.pool)
        .await
    }

    /// What was sold of an event on each day, by the clock of `time_zone`; days without any are left out.
    pub async fn list_sales_by_day(&self, event_id: &str, time_zone: &str) -> sqlx::Result<Vec<DaySales>> {
        sqlx::query_as!(
            DaySales,
            r#"select (created_at at time zone 'utc' at time zone $2)::date as "date!", currency as "currency!",
                   coalesce(sum(seats) filter (where status = 'Confirmed'), 0) as "seats!",
                   coalesce(sum(amount) filter (where status = 'Confirmed'), 0)::bigint as "amount!",
                   coalesce(sum(seats) filter (where status = 'Cancelled'), 0) as "cancelled_seats!",
                   coalesce(sum(amount) filter (where status = 'Cancelled'), 0)::bigint as "cancelled_amount!"
               from bookings
               where event_id = $1 and status in ('Confirmed', 'Cancelled') and payment_status in ('Paid', 'Refunded')
               group by 1, 2 order by 1, 2"#,
            event_id,
            time_zone,
        )
        .fetch_all(&self.pool)
        .await
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
