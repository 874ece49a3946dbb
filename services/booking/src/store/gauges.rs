//! What the gauges show, read by one query.

use platform::outbox::Backlog;

use super::Store;

#[derive(Clone, Debug)]
pub struct Measurements {
    pub backlog: Backlog,
    /// Attempts that are undecided, or charged and not settled.
    pub unresolved_payments: i64,
    /// Age of the oldest, in seconds; 0 if there is none.
    pub oldest_payment_seconds: f64,
    pub pending_refunds: i64,
    /// Releases of seats.
    pub pending_releases: i64,
    pub unfinished_deletions: i64,
    /// Age of the oldest, in seconds; 0 if there is none.
    pub oldest_deletion_seconds: f64,
    /// The kind of each finding.
    pub findings: Vec<String>,
    /// Each scan, with the seconds since its last page was compared.
    pub scan_lags: Vec<(String, f64)>,
}

impl Store {
    pub async fn measure(&self) -> sqlx::Result<Measurements> {
        let row = sqlx::query!(
            r#"select o.unpublished as "unpublished!", o.refused as "refused!", o.lag_seconds as "lag_seconds!",
                      p.count as "unresolved_payments!", p.oldest_seconds as "oldest_payment_seconds!",
                      (select count(*) from refunds where state = 'pending') as "pending_refunds!",
                      (select count(*) from bookings where release_pending) as "pending_releases!",
                      d.count as "unfinished_deletions!", d.oldest_seconds as "oldest_deletion_seconds!",
                      array(select kind from findings) as "findings!",
                      array(select name from patrols order by name) as "scans!",
                      array(select extract(epoch from now() - round_ended_at)::double precision
                            from patrols order by name) as "scan_seconds!"
               from (select count(*) as unpublished, count(*) filter (where attempts > 0) as refused,
                            coalesce(extract(epoch from
                                now() - min(least(greatest(created_at, 'epoch'), now())) filter (where attempts = 0)
                            ), 0)::double precision as lag_seconds
                     from outbox where published_at is null) as o,
                    (select count(*) as count,
                            coalesce(extract(epoch from now() - min(created_at)), 0)::double precision as oldest_seconds
                     from payments where state = 'started' or (state = 'succeeded' and settled_at is null)) as p,
                    (select count(*) as count,
                            coalesce(greatest(extract(epoch from now() - min(deleted_at)), 0), 0)::double precision
                                as oldest_seconds
                     from account_deletions where finished_at is null) as d"#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Measurements {
            backlog: Backlog {
                unpublished: row.unpublished.unsigned_abs(),
                refused: row.refused.unsigned_abs(),
                lag_seconds: row.lag_seconds,
            },
            unresolved_payments: row.unresolved_payments,
            oldest_payment_seconds: row.oldest_payment_seconds,
            pending_refunds: row.pending_refunds,
            pending_releases: row.pending_releases,
            unfinished_deletions: row.unfinished_deletions,
            oldest_deletion_seconds: row.oldest_deletion_seconds,
            findings: row.findings,
            scan_lags: row.scans.into_iter().zip(row.scan_seconds).collect(),
        })
    }
}
