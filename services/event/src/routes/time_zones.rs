//! The time zones that an event can be in.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use aide::UseApi;
use axum::{
    Json,
    http::{HeaderName, header},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::time_zone::ZoneNames;

/// The zones change only with a new version of the service.
const CACHE_CONTROL: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "public, max-age=3600")];

static ZONES: LazyLock<TimeZones> = LazyLock::new(|| {
    let ZoneNames { names, aliases } = ZoneNames::all();
    TimeZones { items: names, aliases }
});

/// The time zones that an event can be in.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub(super) struct TimeZones {
    /// IANA names in use, sorted.
    items: BTreeSet<&'static str>,
    /// Other accepted names, each with the name that replaces it.
    aliases: BTreeMap<&'static str, &'static str>,
}

type CachedZones = ([(HeaderName, &'static str); 1], Json<&'static TimeZones>);

pub(super) async fn list_time_zones() -> UseApi<CachedZones, Json<TimeZones>> {
    (CACHE_CONTROL, Json(&*ZONES)).into()
}
