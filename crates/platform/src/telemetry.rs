//! Logs (structured, readable on a terminal) and metrics (Prometheus), set up once per process.

use std::{io::IsTerminal, process::ExitCode, sync::OnceLock};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::{
    Clock,
    config::{LogArgs, LogFormat},
};

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Bucket bounds of every `…_seconds` histogram.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Sets up logs, metrics and the TLS provider of this process. Later calls change nothing.
pub fn init(args: &LogArgs) {
    // An error means that a provider is installed already, which is as good.
    rustls::crypto::ring::default_provider().install_default().ok();
    metrics_handle();
    let filter = EnvFilter::try_new(&args.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = match args.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    // An error means that a subscriber is installed already, as in tests.
    if json {
        logs.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init().ok();
    } else {
        logs.compact().with_ansi(std::io::stderr().is_terminal()).try_init().ok();
    }
}

/// The process's metrics, recording from the first call on.
pub fn metrics_handle() -> &'static PrometheusHandle {
    METRICS.get_or_init(|| {
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .expect("the bounds are not empty")
            .install_recorder()
            .expect("no other recorder is installed in this process")
    })
}

/// Sets `eventplatform_gauges_kept_timestamp_seconds` to now for a group of gauges. A gauge keeps its last value while it
/// cannot be updated; an alert rule uses this age.
#[expect(clippy::cast_precision_loss, reason = "seconds far below 2^52")]
pub fn mark_gauges_updated(name: &'static str) {
    let now = Clock::system().now().timestamp();
    metrics::gauge!("eventplatform_gauges_kept_timestamp_seconds", "gauges" => name).set(now as f64);
}

/// Logs why a program ends, if it fails, and gives the exit code of `main`.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "stopped");
            ExitCode::FAILURE
        }
    }
}
