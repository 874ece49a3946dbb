//! Compares what this service knows with what its neighbours know, some of it at a time: reservations with bookings,
//! the gateway's charges with payments, messages with the transitions that they tell of. What is safe to heal is
//! handed to whoever does that anyway (a sweeper, event-service); the rest is stored as a finding and counted.
//!
//! A round looks at one page, and the next goes on from there, on whichever replica claims it. Every step may be
//! repeated, so two replicas on one round do no harm.

mod charges;
mod messages;
mod reservations;

use std::time::Duration;

use anyhow::Context;
use platform::{
    Lifecycle,
    task::{Schedule, repeat},
    telemetry::mark_gauges_updated,
};

use crate::{domain::FindingKind, state::AppState, store::Round};

/// The longest pause between two looks at what is due.
const TICK: Duration = Duration::from_secs(5);

/// A comparison.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patrol {
    /// event-service's reservations with bookings.
    Reservations,
    /// The gateway's charges with payments.
    Charges,
    /// Messages with bookings.
    Messages,
}

impl Patrol {
    /// Every comparison.
    pub const ALL: [Self; 3] = [Self::Reservations, Self::Charges, Self::Messages];

    /// The word in the database and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reservations => "reservations",
            Self::Charges => "charges",
            Self::Messages => "messages",
        }
    }

    fn task(self) -> &'static str {
        match self {
            Self::Reservations => "reservation_patrol",
            Self::Charges => "charge_patrol",
            Self::Messages => "message_patrol",
        }
    }
}

/// Starts the reconciler; it ends with `lifecycle`.
pub fn start(state: &AppState, lifecycle: &Lifecycle) {
    for patrol in Patrol::ALL {
        let (state, schedule) = (state.clone(), Schedule::every(state.policy.reconcile_interval.min(TICK)));
        repeat(lifecycle, patrol.task(), schedule, move || reconcile(state.clone(), patrol));
    }
    let (state, schedule) = (state.clone(), Schedule::every(TICK));
    repeat(lifecycle, "reconciliation_gauges", schedule, move || gauges(state.clone()));
}

async fn reconcile(state: AppState, patrol: Patrol) -> anyhow::Result<()> {
    let round = round(&state, patrol).await;
    let outcome = match &round {
        Ok(true) => "done",
        Ok(false) => return Ok(()),
        Err(_) => "interrupted",
    };
    let patrol = patrol.as_str();
    metrics::counter!("eventplatform_reconciliation_rounds_total", "patrol" => patrol, "outcome" => outcome)
        .increment(1);
    round.map(drop).context("nothing reconciled")
}

/// One round of a comparison, if it is due here; says whether it was.
pub async fn round(state: &AppState, patrol: Patrol) -> anyhow::Result<bool> {
    let claimed = state.store.claim_round(patrol.as_str(), state.policy.reconcile_interval).await?;
    let Some(round) = claimed else { return Ok(false) };
    let position = match patrol {
        Patrol::Reservations => reservations::compare(state, &round).await?,
        Patrol::Charges => charges::compare(state, &round).await?,
        Patrol::Messages => messages::compare(state, &round).await?,
    };
    state.store.finish_round(&round, position.as_deref()).await?;
    Ok(true)
}

/// Stores and reports what differs and is not healed.
async fn found(
    state: &AppState,
    round: &Round,
    kind: FindingKind,
    subject: &str,
    booking_id: Option<i32>,
) -> sqlx::Result<()> {
    tracing::error!(kind = kind.as_str(), subject, booking_id, "what belongs together differs");
    state.store.store_finding(round.patrol, kind, subject, booking_id).await
}

fn healed(kind: &'static str, booking_id: i32) {
    tracing::warn!(kind, booking_id, "healed");
    metrics::counter!("eventplatform_reconciliation_healed_total", "kind" => kind).increment(1);
}

/// Keeps the gauges, which are the same on every replica.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
async fn gauges(state: AppState) -> sqlx::Result<()> {
    for kind in FindingKind::ALL {
        let count = state.store.count_findings(*kind).await?;
        metrics::gauge!("eventplatform_reconciliation_findings", "kind" => kind.as_str()).set(count as f64);
    }
    for lag in state.store.list_patrol_lags().await? {
        metrics::gauge!("eventplatform_reconciliation_lag_seconds", "patrol" => lag.patrol).set(lag.seconds);
    }
    mark_gauges_updated("reconciliation");
    Ok(())
}
