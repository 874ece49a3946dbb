//! Invariant 4: what the gateway took and gave back for each booking.

use std::collections::HashMap;

use anyhow::Result;

use super::Violation;
use crate::world::World;

pub(super) async fn check(world: &World) -> Result<Vec<Violation>> {
    let query = "select booking_id::integer, count(*) filter (where kind = 'charge'),
                        coalesce(sum(amount) filter (where kind = 'charge'), 0)::bigint,
                        coalesce(sum(amount) filter (where kind = 'refund'), 0)::bigint
                 from ledger_entries group by booking_id";
    let moved: Vec<(i32, i64, i64, i64)> = sqlx::query_as(query).fetch_all(&world.gateway).await?;
    let mut moved: HashMap<i32, _> =
        moved.into_iter().map(|(id, captures, taken, given)| (id, (captures, taken, given))).collect();
    let query = "select id, status, coalesce(amount, 0),
                        exists (select from payments p where p.booking_id = b.id and p.state = 'failed')
                 from bookings b";
    let bookings: Vec<(i32, String, i64, bool)> = sqlx::query_as(query).fetch_all(&world.bookings).await?;
    let mut violations = Vec::new();
    for (id, status, price, failed) in bookings {
        let (captures, taken, given) = moved.remove(&id).unwrap_or_default();
        let due = if status == "Confirmed" { price } else { 0 };
        if captures > 1 || taken - given != due {
            let attempts = if failed { ", with failed attempts" } else { "" };
            let what = format!(
                "{status} booking {id} of {price}: {captures} captures of {taken}, {given} given back{attempts}"
            );
            violations.push(Violation::new(4, what));
        }
    }
    violations.extend(moved.into_keys().map(|id| Violation::new(4, format!("money for an unknown booking {id}"))));
    Ok(violations)
}
