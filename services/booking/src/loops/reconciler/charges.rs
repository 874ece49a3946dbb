//! The gateway's charges against payments.

use std::collections::HashMap;

use chrono::TimeDelta;

use super::{found, healed};
use crate::{
    domain::reconciliation::{ChargeVerdict, Claim, judge_charge},
    state::AppState,
    store::Round,
};

/// How far back charges are compared.
const WINDOW: TimeDelta = TimeDelta::days(3);

/// Compares the next page; gives the charge that it ended at, or `None` at the end.
pub(super) async fn compare(state: &AppState, round: &Round) -> anyhow::Result<Option<String>> {
    let since = state.clock.now() - WINDOW;
    // The neighbour first: what it lists was named here before it was charged.
    let page = state.gateway.list(since, round.position.as_deref()).await?;
    let names: Vec<String> = page.charges.iter().map(|listed| listed.charge.id.clone()).collect();
    let claims = state.store.list_claims(&names).await?;
    let claims: HashMap<&str, &Claim> = claims.iter().map(|claim| (claim.gateway_id.as_str(), claim)).collect();
    for listed in &page.charges {
        let name = listed.charge.id.as_str();
        match judge_charge(listed, claims.get(name).copied()) {
            ChargeVerdict::Sound => {}
            ChargeVerdict::LookUp => {
                // As a webhook would: the sweeper does the rest.
                state.store.check_charge_soon(name).await?;
                state.payments_wake.notify_one();
                healed("charge_looked_up", listed.booking_id);
            }
            ChargeVerdict::Found(kind) => found(state, round, kind, name, Some(listed.booking_id)).await?,
        }
    }
    Ok(page.next_after)
}
