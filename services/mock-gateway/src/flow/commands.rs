//! Commands: what a request changes, inside the transaction that also stores its response.

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
    store::{events, intents, money},
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

/// The result of a command that was not refused.
#[derive(Debug)]
pub struct Outcome {
    /// The object to respond with.
    pub object: Value,
    /// The response is stored but never sent: `pm_mock_timeout`.
    pub never_answer: bool,
}

impl Outcome {
    fn with(intent: &PaymentIntent) -> Self {
        Self { object: objects::payment_intent(intent), never_answer: false }
    }
}

/// Why a command produced no object.
#[derive(Debug, Error)]
pub enum Failure {
    /// What was written is kept, and repeated requests get the same refusal.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing was written.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Runs a command. Rows that it wrote before a refusal, such as a declined charge, are to be committed.
pub async fn perform(conn: &mut PgConnection, command: &Command, late_seconds: u32) -> Result<Outcome, Failure> {
    match command {
        Command::Create(new) => create(conn, new, late_seconds).await,
        Command::Confirm { intent, payment_method } => {
            let intent = lock(conn, intent, Refusal::NoSuchPaymentIntent).await?;
            confirm(conn, &intent, *payment_method, late_seconds).await
        }
        Command::Cancel { intent, reason } => {
            let intent = lock(conn, intent, Refusal::NoSuchPaymentIntent).await?;
            intent.check_cancelable()?;
            Ok(Outcome::with(&intents::mark_canceled(conn, &intent.id, reason.as_deref()).await?))
        }
        Command::Refund(new) => refund(conn, new).await,
    }
}

async fn lock(conn: &mut PgConnection, id: &str, missing: fn(String) -> Refusal) -> Result<PaymentIntent, Failure> {
    let intent = intents::lock(conn, id).await?;
    intent.ok_or_else(|| missing(id.to_owned()).into())
}

async fn create(conn: &mut PgConnection, new: &NewPaymentIntent, late_seconds: u32) -> Result<Outcome, Failure> {
    let intent = intents::insert(conn, new).await?;
    if new.confirm {
        return confirm(conn, &intent, None, late_seconds).await;
    }
    Ok(Outcome::with(&intent))
}

async fn confirm(
    conn: &mut PgConnection,
    intent: &PaymentIntent,
    given: Option<PaymentMethod>,
    late_seconds: u32,
) -> Result<Outcome, Failure> {
    let method = intent.method_to_confirm(given)?;
    let method_id = method.into_str();
    match method {
        PaymentMethod::Visa | PaymentMethod::Timeout => {
            let charge = money::insert_capture(conn, intent, method_id).await?;
            let intent = succeed(conn, intent, method_id, &charge).await?;
            Ok(Outcome { never_answer: method == PaymentMethod::Timeout, ..Outcome::with(&intent) })
        }
        PaymentMethod::VisaDeclined => {
            let charge = money::insert_charge(conn, intent, method_id, "failed").await?;
            let intent = decline(conn, intent, method_id, &charge).await?;
            Err(Refusal::Declined(Box::new(intent)).into())
        }
        PaymentMethod::Error => Err(Refusal::ProcessorFailed.into()),
        PaymentMethod::Late | PaymentMethod::LateDeclined => {
            let charge = money::insert_charge(conn, intent, method_id, "pending").await?;
            let intent = intents::mark_processing(conn, &intent.id, method_id, &charge, late_seconds).await?;
            Ok(Outcome::with(&intent))
        }
    }
}

/// Captures or declines a late payment.
pub async fn settle(conn: &mut PgConnection, intent: &PaymentIntent) -> sqlx::Result<()> {
    let method = intent.payment_method.as_deref().unwrap_or_default();
    let charge = intent.latest_charge.as_deref().unwrap_or_default();
    if method == PaymentMethod::LateDeclined.into_str() {
        money::fail_pending(conn, charge).await?;
        decline(conn, intent, method, charge).await?;
    } else {
        money::capture_pending(conn, intent, charge).await?;
        succeed(conn, intent, method, charge).await?;
    }
    Ok(())
}

async fn succeed(
    conn: &mut PgConnection,
    intent: &PaymentIntent,
    payment_method: &str,
    charge: &str,
) -> sqlx::Result<PaymentIntent> {
    let intent = intents::mark_succeeded(conn, &intent.id, payment_method, charge).await?;
    events::insert(conn, "payment_intent.succeeded", &intent, &objects::payment_intent(&intent)).await?;
    Ok(intent)
}

async fn decline(
    conn: &mut PgConnection,
    intent: &PaymentIntent,
    payment_method: &str,
    charge: &str,
) -> sqlx::Result<PaymentIntent> {
    let error = objects::payment_error(charge, payment_method);
    let intent = intents::mark_declined(conn, &intent.id, charge, &error).await?;
    events::insert(conn, "payment_intent.payment_failed", &intent, &objects::payment_intent(&intent)).await?;
    Ok(intent)
}

async fn refund(conn: &mut PgConnection, new: &NewRefund) -> Result<Outcome, Failure> {
    let intent = lock(conn, &new.payment_intent, Refusal::UnknownPaymentIntent).await?;
    let capture = money::find_capture(conn, &intent.id).await?;
    let charge = capture.ok_or_else(|| Refusal::NothingToRefund(intent.id.clone()))?;
    let amount = charge.amount_to_refund(new.amount)?;
    let (refund, charge) = money::insert_refund(conn, new, &intent, &charge, amount).await?;
    let object = objects::refund(&refund);
    events::insert(conn, "charge.refunded", &intent, &objects::charge(&charge, &intent)).await?;
    events::insert(conn, "refund.updated", &intent, &object).await?;
    Ok(Outcome { object, never_answer: false })
}
