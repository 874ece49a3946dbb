//! Compares the gateway's charges with payments.

use std::collections::HashMap;

use chrono::TimeDelta;

use super::{count_repaired, report};
use crate::{
    domain::reconciliation::{ChargeVerdict, PaymentRecord, compare_charge},
    state::AppState,
    store::ScanPage,
};

/// Age up to which charges are compared.
const WINDOW: TimeDelta = TimeDelta::days(3);

/// Compares the next page; returns the charge that it ended at, or `None` on the last page.
pub(super) async fn compare(state: &AppState, page: &ScanPage) -> anyhow::Result<Option<String>> {
    let since = state.clock.now() - WINDOW;
    // The gateway is read first: the id of a charge is stored here before it is confirmed there.
    let found = state.gateway.list_charges(since, page.position.as_deref()).await?;
    let ids: Vec<String> = found.charges.iter().map(|listed| listed.charge.id.clone()).collect();
    let payments = if ids.is_empty() { Vec::new() } else { state.store.list_payment_records(&ids).await? };
    let payments: HashMap<&str, &PaymentRecord> = payments.iter().map(|it| (it.gateway_id.as_str(), it)).collect();
    for listed in &found.charges {
        let id = listed.charge.id.as_str();
        match compare_charge(listed, payments.get(id).copied()) {
            ChargeVerdict::Consistent => {}
            ChargeVerdict::FetchCharge => {
                // A sweeper fetches the charge, as after a webhook.
                if state.store.schedule_charge_check(id).await? {
                    state.sweep.notify_one();
                }
                count_repaired("charge_looked_up", listed.booking_id);
            }
            ChargeVerdict::Finding(kind) => report(state, page, kind, id, Some(listed.booking_id)).await?,
        }
    }
    Ok(found.next_after)
}
