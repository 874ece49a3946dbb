//! What the chart's alert rules go by is what the services show.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use eventplatform_tests::programs::Program;
use eventplatform_tests::{api, paths, wait};

use crate::platform;

const SERVICES: [Program; 3] = [Program::Event, Program::Booking, Program::Notification];

/// The metrics that the alert rules name, without the operator's, which its own tests look for.
fn named_by_alerts() -> BTreeSet<String> {
    let file = paths::workspace().join("charts/eventplatform/files/alerts.yaml");
    let rules = std::fs::read_to_string(file).unwrap();
    let words = rules.split(|c: char| !c.is_ascii_lowercase() && c != '_').map(str::to_owned);
    words.filter(|word| word.starts_with("eventplatform_") && !word.starts_with("eventplatform_operator_")).collect()
}

async fn metrics(program: Program) -> Result<String> {
    let admin = platform().await.program(program).admin;
    Ok(api::http_client().get(format!("http://{admin}/metrics")).send().await?.text().await?)
}

/// The names of the metrics that a program shows.
async fn shown(program: Program) -> Result<BTreeSet<String>> {
    let text = metrics(program).await?;
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    Ok(samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_an_alert_names_is_shown_by_a_service() {
    let named = named_by_alerts();
    assert!(named.len() >= 5, "{named:?}");

    let complete = wait::until("every metric is shown", Duration::from_secs(60), async || {
        let mut missing = named.clone();
        for service in SERVICES {
            let shown = shown(service).await?;
            missing.retain(|metric| !shown.contains(metric));
        }
        ensure!(missing.is_empty(), "nobody shows {missing:?}");
        Ok(())
    });
    complete.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_outboxes_and_both_dead_letter_queues_are_watched() {
    let watched = wait::until("all four gauges are shown", Duration::from_secs(60), async || {
        for (service, metric) in [
            (Program::Event, "eventplatform_outbox_lag_seconds"),
            (Program::Booking, "eventplatform_outbox_lag_seconds"),
            (Program::Booking, "eventplatform_dead_letters"),
            (Program::Notification, "eventplatform_dead_letters"),
        ] {
            let shown = shown(service).await?;
            ensure!(shown.contains(metric), "{} does not show {metric}", service.name());
        }
        Ok(())
    });
    watched.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bookings_are_compared_with_event_service_the_gateway_and_the_outbox() {
    let compared = wait::until("every scan has compared a page", Duration::from_secs(60), async || {
        let shown = metrics(Program::Booking).await?;
        for scan in ["reservations", "charges", "messages", "tickets"] {
            let rounds = format!("eventplatform_reconciliation_rounds_total{{patrol=\"{scan}\",outcome=\"done\"}}");
            ensure!(shown.contains(&rounds), "{rounds} is not in {shown}");
        }
        Ok(())
    });
    compared.await.unwrap();
}
