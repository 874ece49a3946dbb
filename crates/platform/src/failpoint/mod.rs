//! Failpoints: named places between two effects, where a test may have the process killed or stalled.
//!
//! They exist in debug builds with the feature `failpoints` alone, which `eventplatform-tests` switches on. A release
//! build holds no trace of them, whatever features it is given: [`crate::failpoint!`] is nothing there. The tests in
//! `tests/faults` give [`FaultConfig`] at `/failpoints` of the admin listener; a process that starts again has none.

mod names;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    http::StatusCode,
    routing::{get, put},
};
use chrono::TimeDelta;
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

pub use self::names::POINTS;

/// Lets a test kill or stall the process between two effects. The name is one of [`POINTS`], and stands in one place.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {{
        const { assert!($crate::failpoint::is_listed($name), "list it in POINTS") };
        $crate::failpoint::reach($name).await;
    }};
}

/// What a test wants of this process. New orders replace the old ones.
///
/// Unknown fields are ignored: a replica of another version may have more of them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct FaultConfig {
    /// Die, as by `kill -9`, where this point is reached first.
    pub kill_at: Option<String>,
    /// Stall where this point is reached first; gone from the orders once that has begun.
    pub stall_at: Option<Stall>,
    /// How far this process's clock is ahead of the machine's.
    pub clock_offset_seconds: i64,
}

/// A pause of one task at a failpoint.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// Where.
    pub point: String,
    /// For how long.
    pub ms: u64,
}

static ORDERS: Mutex<FaultConfig> = Mutex::new(FaultConfig { kill_at: None, stall_at: None, clock_offset_seconds: 0 });

fn orders() -> MutexGuard<'static, FaultConfig> {
    ORDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What [`crate::failpoint!`] does.
pub async fn reach(point: &str) {
    let stall = {
        let mut orders = orders();
        if orders.kill_at.as_deref() == Some(point) {
            die(point);
        }
        orders.stall_at.take_if(|stall| stall.point == point)
    };
    if let Some(stall) = stall {
        tracing::warn!(point, ms = stall.ms, "stalled");
        tokio::time::sleep(Duration::from_millis(stall.ms)).await;
    }
}

/// Nothing is flushed, dropped or said goodbye to.
fn die(point: &str) {
    eprintln!("killed at {point}");
    kill_process(getpid(), Signal::KILL).ok();
    std::process::abort();
}

/// How far this process's clock is ahead of the machine's.
pub fn clock_offset() -> TimeDelta {
    TimeDelta::seconds(orders().clock_offset_seconds)
}

/// Whether [`POINTS`] holds that name; for the macro, which asks when it is compiled.
pub const fn is_listed(name: &str) -> bool {
    let mut at = 0;
    while at < POINTS.len() {
        if is_same(POINTS[at].as_bytes(), name.as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// `/failpoints`, for the admin listener.
pub fn routes() -> Router {
    let given = || async { Json(orders().clone()) };
    Router::new().route("/failpoints", get(given)).route("/failpoints", put(take_orders))
}

async fn take_orders(Json(new): Json<FaultConfig>) -> StatusCode {
    let points = new.kill_at.iter().chain(new.stall_at.iter().map(|stall| &stall.point));
    if !points.map(String::as_str).all(is_listed) {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    *orders() = new;
    StatusCode::NO_CONTENT
}
