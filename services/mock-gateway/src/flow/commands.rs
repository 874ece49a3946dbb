//! Commands: what a request changes, inside the transaction that also stores its response.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use thiserror::Error;

use crate::{
    domain::{
        PaymentMethod, Refusal,
        fault::{FaultTarget, Operation},
        intent::{NewPaymentIntent, NewRefund, PaymentIntent},
        objects,
    },
    store::{
        events::{self, DueEvent},
        intents, money, new_id,
    },
};

/// A request that changes something.
#[derive(Clone, Debug)]
pub enum Command {
    Create(NewPaymentIntent),
    Confirm { intent: String, payment_method: Option<PaymentMethod> },
    Cancel { intent: String, reason: Option<String> },
    Refund(NewRefund),
}

impl Command {
    /// The existing payment intent that it names.
    pub fn intent(&self) -> Option<&str> {
        match self {
            Self::Create(_) => None,
            Self::Confirm { intent, .. } | Self::Cancel { intent, .. } => Some(intent),
            Self::Refund(new) => Some(&new.payment_intent),
        }
    }

    pub fn fault_target(&self) -> FaultTarget {
        let (operations, payment_method, booking_id) = match self {
            Self::Create(new) if new.confirm => {
                (vec![Operation::Create, Operation::Confirm], new.payment_method, new.booking_id())
            }
            Self::Create(new) => (vec![Operation::Create], new.payment_method, new.booking_id()),
            Self::Confirm { payment_method, .. } => (vec![Operation::Confirm], *payment_method, None),
            Self::Cancel { .. } => (vec![Operation::Cancel], None, None),
            Self::Refund(_) => (vec![Operation::Refund], None, None),
        };
        FaultTarget {
            operations,
            payment_method: payment_method.map(|method| method.into_str().to_owned()),
            booking_id: booking_id.map(str::to_owned),
            event_type: None,
        }
    }
}

/// What a command did, and its response.
#[derive(Debug)]
pub struct Outcome {
    /// The object to respond with, or the refusal. Repeated requests get the same.
    pub response: Result<Value, Refusal>,
    /// To be delivered after the commit.
    pub events: Vec<DueEvent>,
    /// The response is stored but never sent: `pm_mock_timeout`.
    pub never_answer: bool,
    /// A payment was made that settles late.
    pub settles_late: bool,
}

impl Outcome {
    fn new(response: Result<Value, Refusal>) -> Self {
        Self { response, events: Vec::new(), never_answer: false, settles_late: false }
    }

    fn with(intent: &PaymentIntent) -> Self {
        Self::new(Ok(objects::payment_intent(intent)))
    }
}

/// Why a command ended early.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Runs a command in a transaction that the caller commits, whether the command was refused or not.
pub async fn perform(
    conn: &mut PgConnection,
    command: &Command,
    late_seconds: u32,
    now: DateTime<Utc>,
) -> sqlx::Result<Outcome> {
    match run(conn, command, late_seconds, now).await {
        Ok(outcome) => Ok(outcome),
        Err(Failure::Refused(refusal)) => Ok(Outcome::new(Err(refusal))),
        Err(Failure::Database(cause)) => Err(cause),
    }
}

async fn run(
    conn: &mut PgConnection,
    command: &Command,
    late_seconds: u32,
    now: DateTime<Utc>,
) -> Result<Outcome, Failure> {
    match command {
        Command::Create(new) => create(conn, new, late_seconds, now).await,
        Command::Confirm { intent, payment_method } => {
            let intent = lock(conn, intent, Refusal::NoSuchPaymentIntent).await?;
            confirm(conn, intent, *payment_method, late_seconds, now).await
        }
        Command::Cancel { intent, reason } => {
            let intent = lock(conn, intent, Refusal::NoSuchPaymentIntent).await?;
            intent.check_cancelable()?;
            Ok(Outcome::with(&intents::mark_canceled(conn, &intent.id, reason.as_deref()).await?))
        }
        Command::Refund(new) => refund(conn, new, now).await,
    }
}

async fn lock(conn: &mut PgConnection, id: &str, missing: fn(String) -> Refusal) -> Result<PaymentIntent, Failure> {
    let intent = intents::lock(conn, id).await?;
    intent.ok_or_else(|| missing(id.to_owned()).into())
}

async fn create(
    conn: &mut PgConnection,
    new: &NewPaymentIntent,
    late_seconds: u32,
    now: DateTime<Utc>,
) -> Result<Outcome, Failure> {
    let intent = intents::insert(conn, new).await?;
    if new.confirm {
        return confirm(conn, intent, None, late_seconds, now).await;
    }
    Ok(Outcome::with(&intent))
}

async fn confirm(
    conn: &mut PgConnection,
    intent: PaymentIntent,
    given: Option<PaymentMethod>,
    late_seconds: u32,
    now: DateTime<Utc>,
) -> Result<Outcome, Failure> {
    let method = intent.method_to_confirm(given)?;
    match method {
        PaymentMethod::Visa | PaymentMethod::Timeout | PaymentMethod::VisaDeclined => {
            let (intent, event) = settle(conn, intent, method, new_id("ch"), now).await?;
            let outcome = match method {
                PaymentMethod::VisaDeclined => Outcome::new(Err(Refusal::Declined(Box::new(intent)))),
                _ => Outcome::with(&intent),
            };
            Ok(Outcome { events: vec![event], never_answer: method == PaymentMethod::Timeout, ..outcome })
        }
        PaymentMethod::Error => Err(Refusal::ProcessorFailed.into()),
        PaymentMethod::Late | PaymentMethod::LateDeclined => {
            let intent = intents::mark_processing(conn, &intent.id, method.into_str(), late_seconds).await?;
            Ok(Outcome { settles_late: true, ..Outcome::with(&intent) })
        }
    }
}

/// Captures or declines a late payment.
pub async fn settle_late(conn: &mut PgConnection, intent: PaymentIntent, now: DateTime<Utc>) -> sqlx::Result<DueEvent> {
    let declined = intent.payment_method.as_deref() == Some(PaymentMethod::LateDeclined.into_str());
    let method = if declined { PaymentMethod::LateDeclined } else { PaymentMethod::Late };
    let charge = intent.latest_charge.clone().unwrap_or_default();
    Ok(settle(conn, intent, method, charge, now).await?.1)
}

/// Captures or declines, as the payment method says.
async fn settle(
    conn: &mut PgConnection,
    intent: PaymentIntent,
    method: PaymentMethod,
    charge: String,
    now: DateTime<Utc>,
) -> sqlx::Result<(PaymentIntent, DueEvent)> {
    let (kind, intent) = match method {
        PaymentMethod::VisaDeclined | PaymentMethod::LateDeclined => {
            ("payment_intent.payment_failed", intent.declined(method, charge))
        }
        _ => ("payment_intent.succeeded", intent.succeeded(method, charge)),
    };
    let event = DueEvent::new(kind, &intent, &objects::payment_intent(&intent), now);
    money::settle(conn, &intent, method.into_str(), &event).await?;
    Ok((intent, event))
}

async fn refund(conn: &mut PgConnection, new: &NewRefund, now: DateTime<Utc>) -> Result<Outcome, Failure> {
    let intent = lock(conn, &new.payment_intent, Refusal::UnknownPaymentIntent).await?;
    let capture = money::find_capture(conn, &intent.id).await?;
    let charge = capture.ok_or_else(|| Refusal::NothingToRefund(intent.id.clone()))?;
    let amount = charge.amount_to_refund(new.amount)?;
    let (refund, charge) = money::insert_refund(conn, new, &intent, &charge, amount).await?;
    let object = objects::refund(&refund);
    let events = vec![
        DueEvent::new("charge.refunded", &intent, &objects::charge(&charge, &intent), now),
        DueEvent::new("refund.updated", &intent, &object, now),
    ];
    for event in &events {
        events::insert(conn, event).await?;
    }
    Ok(Outcome { events, ..Outcome::new(Ok(object)) })
}
