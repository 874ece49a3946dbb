//! The status: conditions with a reason and a message for people. Pure. It is written only when it differs.

mod programs;
mod steady;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    crd::{ConditionStatus, DependencyStatus, EventPlatformStatus, PlatformCondition, ServiceStatus},
    error::Error,
};

/// Whether a condition holds, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    pub status: ConditionStatus,
    /// One word in camel case.
    pub reason: String,
    pub message: String,
}

impl Verdict {
    pub fn yes(reason: &str, message: impl Into<String>) -> Self {
        Self { status: ConditionStatus::True, reason: reason.to_owned(), message: message.into() }
    }

    pub fn no(reason: &str, message: impl Into<String>) -> Self {
        Self { status: ConditionStatus::False, reason: reason.to_owned(), message: message.into() }
    }

    pub fn unknown(reason: &str, message: impl Into<String>) -> Self {
        Self { status: ConditionStatus::Unknown, reason: reason.to_owned(), message: message.into() }
    }

    fn holds(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

/// The findings of one reconcile.
#[derive(Clone, Debug)]
pub struct Report {
    /// The generation of the spec that was reconciled.
    pub generation: Option<i64>,
    pub version: Option<String>,
    pub url: Option<String>,
    pub paused: bool,
    pub stopped: bool,
    /// Whether every program serves.
    pub available: Verdict,
    /// Whether PostgreSQL, MongoDB and RabbitMQ are ready.
    pub dependencies_ready: Verdict,
    /// Whether every schema is that of the desired version.
    pub schema_current: Verdict,
    /// Reason and message of everything that needs intervention.
    pub degraded: Vec<(String, String)>,
    /// Everything that only takes time.
    pub pending: Vec<String>,
    pub services: Vec<ServiceStatus>,
    pub dependencies: Vec<DependencyStatus>,
    /// Kind and name of the objects that somebody else changed or deleted, and that were restored.
    pub restored: Vec<String>,
    /// What the conditions said of the same generation.
    said: Vec<String>,
}

impl Report {
    /// Starts with the findings of the previous reconcile.
    pub fn new(generation: Option<i64>, previous: Option<&EventPlatformStatus>) -> Self {
        let known = |type_: &str| {
            let conditions = previous.map(|status| status.conditions.as_slice()).unwrap_or_default();
            conditions.iter().find(|condition| condition.type_ == type_).map_or_else(
                || Verdict::unknown("NotObserved", "the operator has not checked it yet"),
                |known| Verdict { status: known.status, reason: known.reason.clone(), message: known.message.clone() },
            )
        };
        let same = previous.filter(|status| status.observed_generation == generation);
        let said = same.into_iter().flat_map(|status| &status.conditions);
        Self {
            generation,
            version: previous.and_then(|status| status.version.clone()),
            url: previous.and_then(|status| status.url.clone()),
            paused: false,
            stopped: false,
            available: known("Available"),
            dependencies_ready: known("DependenciesReady"),
            schema_current: known("SchemaCurrent"),
            degraded: Vec::new(),
            pending: Vec::new(),
            services: previous.map(|status| status.services.clone()).unwrap_or_default(),
            dependencies: previous.map(|status| status.dependencies.clone()).unwrap_or_default(),
            restored: Vec::new(),
            said: said.map(|condition| condition.message.clone()).collect(),
        }
    }

    pub fn degrade(&mut self, error: &Error) {
        self.degraded.push((error.reason().to_owned(), self.steady(error.to_string())));
    }

    /// A text of somebody else, as the status has it if only addresses, times or ids in it differ. Writing the status
    /// triggers the next reconcile: with another text each time, there would be no end of that.
    pub fn steady(&self, text: String) -> String {
        let said = self.said.iter().find_map(|said| steady::same_part(&text, said)).map(str::to_owned);
        said.unwrap_or(text)
    }

    /// Whether everything is as specified.
    pub fn is_ready(&self) -> bool {
        self.ready().holds()
    }

    /// Whether the platform is stopped, and nothing is left to do for that.
    pub fn is_at_rest(&self) -> bool {
        self.stopped && self.pending.is_empty() && self.degraded.is_empty()
    }

    fn ready(&self) -> Verdict {
        if self.paused {
            return Verdict::unknown("Paused", "management is Paused; set it to Managed to resume reconciliation");
        }
        if let Some((reason, message)) = self.degraded.first() {
            return Verdict::no(reason, message.clone());
        }
        if self.stopped {
            return Verdict::no("Stopped", "management is Stopped; set it to Managed to start the platform");
        }
        let parts = [&self.dependencies_ready, &self.schema_current, &self.available];
        if let Some(missing) = parts.into_iter().find(|verdict| !verdict.holds()) {
            return Verdict::no(&missing.reason, missing.message.clone());
        }
        if !self.pending.is_empty() {
            return Verdict::no("Progressing", self.pending.join("; "));
        }
        Verdict::yes("AsSpecified", "everything is as specified")
    }

    fn degraded(&self) -> Verdict {
        match self.degraded.first() {
            None => Verdict::no("AsExpected", "nothing needs intervention"),
            Some((reason, _)) => {
                let messages: Vec<&str> = self.degraded.iter().map(|(_, message)| message.as_str()).collect();
                Verdict::yes(reason, messages.join("; "))
            }
        }
    }

    fn paused(&self) -> Verdict {
        if self.paused {
            Verdict::yes("Paused", "management is Paused: only this status is written")
        } else {
            Verdict::no("Managed", "the operator manages the platform")
        }
    }

    /// The status to write. A condition keeps its transition time while its status is the same.
    pub fn status(&self, previous: Option<&EventPlatformStatus>, now: DateTime<Utc>) -> EventPlatformStatus {
        let conditions = [
            ("Ready", self.ready()),
            ("Available", self.available.clone()),
            ("DependenciesReady", self.dependencies_ready.clone()),
            ("SchemaCurrent", self.schema_current.clone()),
            ("Degraded", self.degraded()),
            ("Paused", self.paused()),
        ];
        let conditions = conditions.map(|(type_, verdict)| condition(type_, verdict, self.generation, previous, now));
        EventPlatformStatus {
            observed_generation: self.generation,
            version: self.version.clone(),
            url: self.url.clone(),
            conditions: conditions.into(),
            services: self.services.clone(),
            dependencies: self.dependencies.clone(),
        }
    }
}

/// Below the bound of the CRD.
const MAX_MESSAGE: usize = 4000;

fn condition(
    type_: &str,
    verdict: Verdict,
    generation: Option<i64>,
    previous: Option<&EventPlatformStatus>,
    now: DateTime<Utc>,
) -> PlatformCondition {
    let before = previous.and_then(|status| status.conditions.iter().find(|condition| condition.type_ == type_));
    let since = match before {
        Some(before) if before.status == verdict.status => before.last_transition_time.clone(),
        _ => now.to_rfc3339_opts(SecondsFormat::Secs, true),
    };
    PlatformCondition {
        type_: type_.to_owned(),
        status: verdict.status,
        reason: verdict.reason,
        message: verdict.message.chars().take(MAX_MESSAGE).collect(),
        last_transition_time: since,
        observed_generation: generation,
    }
}

/// The conditions that deserve an event: those with another status, and Degraded with another reason.
pub fn transitions<'a>(
    previous: Option<&EventPlatformStatus>,
    next: &'a EventPlatformStatus,
) -> Vec<&'a PlatformCondition> {
    let before =
        |type_: &str| previous.and_then(|status| status.conditions.iter().find(|condition| condition.type_ == type_));
    let changed = next.conditions.iter().filter(|condition| match before(&condition.type_) {
        Some(before) => {
            let another_reason = condition.type_ == "Degraded" && before.reason != condition.reason;
            before.status != condition.status || another_reason
        }
        // Without a previous status, only what holds is news.
        None => condition.status == ConditionStatus::True,
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn good() -> Report {
        Report {
            available: Verdict::yes("Serving", ""),
            dependencies_ready: Verdict::yes("Ready", ""),
            schema_current: Verdict::yes("Current", ""),
            ..Report::new(Some(1), None)
        }
    }

    fn find<'a>(status: &'a EventPlatformStatus, type_: &str) -> &'a PlatformCondition {
        status.conditions.iter().find(|condition| condition.type_ == type_).unwrap()
    }

    #[test]
    fn the_same_findings_give_the_same_status_at_any_time() {
        let first = good().status(None, at(1));
        let second = good().status(Some(&first), at(100));

        assert_eq!(first, second);
        assert_eq!(find(&first, "Ready").status, ConditionStatus::True);
    }

    #[test]
    fn an_error_makes_it_degraded_and_not_ready_but_leaves_it_available() {
        let mut report = good();
        report.degrade(&Error::NameTaken { kind: "Service".into(), name: "demo-user".into() });

        let status = report.status(Some(&good().status(None, at(1))), at(50));

        assert_eq!(find(&status, "Ready").reason, "NameTaken");
        assert_eq!(find(&status, "Degraded").status, ConditionStatus::True);
        assert_eq!(find(&status, "Degraded").last_transition_time, "1970-01-01T00:00:50Z");
        assert_eq!(find(&status, "Available").status, ConditionStatus::True);
        assert_eq!(find(&status, "Available").last_transition_time, "1970-01-01T00:00:01Z");
    }

    #[test]
    fn only_transitions_deserve_an_event() {
        let first = good().status(None, at(1));
        let mut report = good();
        report.pending.push("booking: 1 of 2 pods".to_owned());
        let second = report.status(Some(&first), at(2));

        let types =
            |conditions: Vec<&PlatformCondition>| conditions.iter().map(|c| c.type_.clone()).collect::<Vec<_>>();
        assert_eq!(types(transitions(Some(&first), &second)), ["Ready"]);
        assert!(transitions(Some(&second), &second).is_empty());
    }

    #[test]
    fn a_platform_is_not_ready_while_something_is_pending() {
        let mut report = good();
        report.pending.push("booking: 1 of 2 pods".to_owned());

        assert!(!report.is_ready());
    }
}
