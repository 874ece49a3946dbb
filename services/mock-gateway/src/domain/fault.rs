//! Rules of fault injection: which requests or webhooks go wrong, how, and how often.

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

const MAX_DELAY_MS: u32 = 120_000;
const MAX_RULES: usize = 100;

/// What a rule applies to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
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

/// What goes wrong. The names are also labels of metrics.
#[derive(Clone, Copy, Debug, Deserialize, Eq, IntoStaticStr, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Action {
    /// A request: 500 `api_error`; nothing is done, and nothing is stored under the idempotency key.
    #[serde(rename = "error_500")]
    #[strum(serialize = "error_500")]
    Error500,
    /// A request: nothing is done, and no response is sent.
    TimeoutBefore,
    /// A request: it is done, but no response is sent.
    TimeoutAfter,
    /// A request or a webhook: it is delayed by that many milliseconds.
    DelayMs(u32),
    /// A webhook: it is sent twice.
    DuplicateWebhook,
    /// A webhook: it is never sent.
    DropWebhook,
    /// A webhook: it is sent after the next event of the same payment intent, or after 3 s if there is none.
    ReorderWebhooks,
    /// A webhook: before it, a forgery with the opposite outcome is sent, signed with another secret.
    ForgeSignature,
}

impl Action {
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

/// Which requests or webhooks a rule matches; absent fields match all.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    pub operation: Operation,
    /// Only with this payment method, such as `pm_card_visa`; not for webhooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_method: Option<String>,
    /// Only for intents with this `metadata[booking_id]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booking_id: Option<String>,
    /// Only events of this type, such as `payment_intent.succeeded`; webhooks only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(rename = "match")]
    pub matching: Match,
    /// How often it applies; without a limit if absent or null.
    #[serde(default)]
    pub times: Option<u16>,
    pub action: Action,
}

/// A request or a webhook, as rules see it.
#[derive(Clone, Debug, Default)]
pub struct FaultTarget {
    pub operations: Vec<Operation>,
    pub payment_method: Option<String>,
    pub booking_id: Option<String>,
    pub event_type: Option<String>,
}

impl Rule {
    pub fn matches(&self, target: &FaultTarget) -> bool {
        let fits = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        target.operations.contains(&self.matching.operation)
            && fits(&self.matching.payment_method, &target.payment_method)
            && fits(&self.matching.booking_id, &target.booking_id)
            && fits(&self.matching.event_type, &target.event_type)
    }

    /// Why the rule can never apply, if that is so.
    fn defect(&self) -> Option<String> {
        let action = self.action.into_str();
        let webhook = self.matching.operation == Operation::Webhook;
        if webhook && !self.action.is_for_webhooks() {
            return Some(format!("{action} is for requests, not for webhooks"));
        }
        if !webhook && !self.action.is_for_requests() {
            return Some(format!("{action} needs the operation webhook"));
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

/// Parses a list of rules. The error describes the first invalid one.
pub fn parse_rules(json: &[u8]) -> Result<Vec<Rule>, String> {
    let rules: Vec<Rule> = serde_json::from_slice(json).map_err(|error| format!("Invalid list of rules: {error}"))?;
    if rules.len() > MAX_RULES {
        return Err(format!("Invalid list of rules: at most {MAX_RULES}"));
    }
    let defect = rules.iter().enumerate().find_map(|(index, rule)| Some((index, rule.defect()?)));
    match defect {
        Some((index, defect)) => Err(format!("Invalid rule {index}: {defect}")),
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
    fn a_rule_matches_only_its_operation_and_booking() {
        let rule = rule(r#"{"match":{"operation":"confirm","booking_id":"7"},"times":1,"action":"error_500"}"#);
        let target = |operations: &[Operation], booking: &str| FaultTarget {
            operations: operations.to_vec(),
            booking_id: Some(booking.to_owned()),
            ..FaultTarget::default()
        };

        assert!(rule.matches(&target(&[Operation::Create, Operation::Confirm], "7")));
        assert!(!rule.matches(&target(&[Operation::Confirm], "8")));
        assert!(!rule.matches(&target(&[Operation::Create], "7")));
        assert!(!rule.matches(&FaultTarget { operations: vec![Operation::Confirm], ..FaultTarget::default() }));
    }

    #[test]
    fn invalid_rules_are_refused() {
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
    fn a_rule_serializes_to_the_json_it_was_parsed_from() {
        let written = r#"{"match":{"operation":"webhook"},"times":null,"action":{"delay_ms":250}}"#;

        assert_eq!(serde_json::to_string(&rule(written)).unwrap(), written);
    }
}
