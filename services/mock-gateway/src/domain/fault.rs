//! Misbehaviour on demand: rules that say which requests or webhooks go wrong, how, and how often.

use serde::{Deserialize, Serialize};

/// The longest delay that can be ordered, in milliseconds.
const MAX_DELAY_MS: u32 = 120_000;
/// The most rules at a time.
const MAX_RULES: usize = 100;

/// What a rule is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// `POST /v1/payment_intents`.
    Create,
    /// `POST /v1/payment_intents/{id}/confirm`, and a creation with `confirm=true`.
    Confirm,
    /// Reading or listing payment intents and refunds.
    Retrieve,
    /// `POST /v1/payment_intents/{id}/cancel`.
    Cancel,
    /// `POST /v1/refunds`.
    Refund,
    /// An event on its way to `WEBHOOK_URL`.
    Webhook,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// A request: 500 `api_error`; nothing was done, nothing is stored under the idempotency key.
    #[serde(rename = "error_500")]
    Error500,
    /// A request: nothing is done and nothing is answered.
    TimeoutBefore,
    /// A request: it is done and nothing is answered.
    TimeoutAfter,
    /// A request or a webhook: so many milliseconds later.
    DelayMs(u32),
    /// A webhook: twice.
    DuplicateWebhook,
    /// A webhook: never.
    DropWebhook,
    /// A webhook: after the next event of the same payment intent, or 3 s late if there is none.
    ReorderWebhooks,
    /// A webhook: a forgery that claims the opposite and is signed with another secret is sent before it.
    ForgeSignature,
}

impl Action {
    /// The word for logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Error500 => "error_500",
            Self::TimeoutBefore => "timeout_before",
            Self::TimeoutAfter => "timeout_after",
            Self::DelayMs(_) => "delay_ms",
            Self::DuplicateWebhook => "duplicate_webhook",
            Self::DropWebhook => "drop_webhook",
            Self::ReorderWebhooks => "reorder_webhooks",
            Self::ForgeSignature => "forge_signature",
        }
    }

    fn is_for_webhooks(self) -> bool {
        matches!(
            self,
            Self::DelayMs(_)
                | Self::DuplicateWebhook
                | Self::DropWebhook
                | Self::ReorderWebhooks
                | Self::ForgeSignature
        )
    }

    fn is_for_requests(self) -> bool {
        matches!(self, Self::Error500 | Self::TimeoutBefore | Self::TimeoutAfter | Self::DelayMs(_))
    }
}

/// Which requests or webhooks a rule is for; absent fields match everything.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Match {
    pub(crate) operation: Operation,
    /// Only with this payment method, such as `pm_card_visa`; not for webhooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payment_method: Option<String>,
    /// Only for intents with this `metadata[booking_id]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) booking_id: Option<String>,
    /// Only events of this type, such as `payment_intent.succeeded`; webhooks only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event_type: Option<String>,
}

/// A rule as it is ordered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    #[serde(rename = "match")]
    pub(crate) matching: Match,
    /// How often it applies; absent or null is for ever.
    #[serde(default)]
    pub(crate) times: Option<u16>,
    pub(crate) action: Action,
}

/// What a request or a webhook is, as far as rules look at it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub(crate) operations: Vec<Operation>,
    pub(crate) payment_method: Option<String>,
    pub(crate) booking_id: Option<String>,
    pub(crate) event_type: Option<String>,
}

impl Rule {
    /// Whether the rule is about this.
    pub(crate) fn applies_to(&self, subject: &Subject) -> bool {
        let fits = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        subject.operations.contains(&self.matching.operation)
            && fits(&self.matching.payment_method, &subject.payment_method)
            && fits(&self.matching.booking_id, &subject.booking_id)
            && fits(&self.matching.event_type, &subject.event_type)
    }

    fn objection(&self) -> Option<String> {
        let word = self.action.as_str();
        let webhook = self.matching.operation == Operation::Webhook;
        if webhook && !self.action.is_for_webhooks() {
            return Some(format!("{word} is for requests, not for webhooks"));
        }
        if !webhook && !self.action.is_for_requests() {
            return Some(format!("{word} needs the operation webhook"));
        }
        if webhook && self.matching.payment_method.is_some() {
            return Some("webhooks do not match by payment_method; take booking_id or event_type".to_owned());
        }
        if !webhook && self.matching.event_type.is_some() {
            return Some("event_type needs the operation webhook".to_owned());
        }
        match self.action {
            Action::DelayMs(ms) if ms > MAX_DELAY_MS => Some(format!("delay_ms: at most {MAX_DELAY_MS}")),
            _ => None,
        }
    }
}

/// Reads a list of rules; says what is wrong with the first that is.
pub(crate) fn parse_rules(json: &[u8]) -> Result<Vec<Rule>, String> {
    let rules: Vec<Rule> = serde_json::from_slice(json).map_err(|error| format!("Invalid list of rules: {error}"))?;
    if rules.len() > MAX_RULES {
        return Err(format!("Invalid list of rules: at most {MAX_RULES}"));
    }
    let objection = rules.iter().enumerate().find_map(|(at, rule)| Some((at, rule.objection()?)));
    match objection {
        Some((at, objection)) => Err(format!("Invalid rule {at}: {objection}")),
        None => Ok(rules),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> Rule {
        parse_rules(format!("[{json}]").as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn a_rule_applies_to_what_it_names_and_to_nothing_else() {
        let rule = rule(r#"{"match":{"operation":"confirm","booking_id":"7"},"times":1,"action":"error_500"}"#);
        let subject = |operations: &[Operation], booking: &str| Subject {
            operations: operations.to_vec(),
            booking_id: Some(booking.to_owned()),
            ..Subject::default()
        };

        assert!(rule.applies_to(&subject(&[Operation::Create, Operation::Confirm], "7")));
        assert!(!rule.applies_to(&subject(&[Operation::Confirm], "8")));
        assert!(!rule.applies_to(&subject(&[Operation::Create], "7")));
        assert!(!rule.applies_to(&Subject { operations: vec![Operation::Confirm], ..Subject::default() }));
    }

    #[test]
    fn rules_that_could_never_apply_are_refused() {
        for bad in [
            r#"{"match":{"operation":"confirm"},"action":"drop_webhook"}"#,
            r#"{"match":{"operation":"webhook"},"action":"error_500"}"#,
            r#"{"match":{"operation":"webhook","payment_method":"pm_card_visa"},"action":"drop_webhook"}"#,
            r#"{"match":{"operation":"refund","event_type":"charge.refunded"},"action":"error_500"}"#,
            r#"{"match":{"operation":"refund"},"action":{"delay_ms":120001}}"#,
            r#"{"match":{"operation":"pay"},"action":"error_500"}"#,
            r#"{"match":{"operation":"refund"},"action":"error_500","often":true}"#,
        ] {
            assert!(parse_rules(format!("[{bad}]").as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rule_reads_back_as_it_was_written() {
        let written = r#"{"match":{"operation":"webhook"},"times":null,"action":{"delay_ms":250}}"#;

        assert_eq!(serde_json::to_string(&rule(written)).unwrap(), written);
    }
}
