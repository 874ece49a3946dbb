//! What a command does, inside the one transaction that also keeps its answer.

use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    domain::{
        PaymentMethod, Refusal,
        intent::{NewPaymentIntent, NewRefund, PaymentIntent},
    },
    error::Failure,
    objects,
    store::{events, intents, money},
};

/// A request that changes something.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Create(NewPaymentIntent),
    Confirm { intent: String, payment_method: Option<PaymentMethod> },
    Cancel { intent: String, reason: Option<String> },
    Refund(NewRefund),
}

/// What came of a command that was not refused.
#[derive(Debug)]
pub(crate) struct Done {
    /// The object to answer with.
    pub(crate) object: Value,
    /// `pm_mock_timeout`: the answer is kept, but never given.
    pub(crate) silent: bool,
}

impl Done {
    fn with(intent: &PaymentIntent) -> Self {
        Self { object: objects::payment_intent(intent), silent: false }
    }
}

/// Does it. What is written before a refusal stays, such as a declined attempt.
pub(crate) async fn perform(conn: &mut PgConnection, command: &Command, late_seconds: u32) -> Result<Done, Failure> {
    match command {
        Command::Create(new) => create(conn, new, late_seconds).await,
        Command::Confirm { intent, payment_method } => {
            let intent = find(conn, intent, Refusal::NoSuchPaymentIntent).await?;
            confirm(conn, &intent, *payment_method, late_seconds).await
        }
        Command::Cancel { intent, reason } => {
            let intent = find(conn, intent, Refusal::NoSuchPaymentIntent).await?;
            intent.cancelable()?;
            Ok(Done::with(&intents::mark_canceled(conn, &intent.id, reason.as_deref()).await?))
        }
        Command::Refund(new) => refund(conn, new).await,
    }
}

async fn find(conn: &mut PgConnection, id: &str, refusal: fn(String) -> Refusal) -> Result<PaymentIntent, Failure> {
    let intent = intents::lock(conn, id).await?;
    intent.ok_or_else(|| refusal(id.to_owned()).into())
}

async fn create(conn: &mut PgConnection, new: &NewPaymentIntent, late_seconds: u32) -> Result<Done, Failure> {
    let intent = intents::insert(conn, new).await?;
    if new.confirm {
        return confirm(conn, &intent, None, late_seconds).await;
    }
    Ok(Done::with(&intent))
}

async fn confirm(
    conn: &mut PgConnection,
    intent: &PaymentIntent,
    given: Option<PaymentMethod>,
    late_seconds: u32,
) -> Result<Done, Failure> {
    let method = intent.confirmable_with(given)?;
    match method {
        PaymentMethod::Visa | PaymentMethod::Timeout => {
            let charge = money::insert_capture(conn, intent, method.as_str()).await?;
            let intent = succeed(conn, intent, method.as_str(), &charge).await?;
            Ok(Done { silent: method == PaymentMethod::Timeout, ..Done::with(&intent) })
        }
        PaymentMethod::VisaDeclined => {
            let charge = money::insert_failed_charge(conn, intent, method.as_str()).await?;
            let intent = decline(conn, intent, method.as_str(), &charge).await?;
            Err(Refusal::Declined(Box::new(intent)).into())
        }
        PaymentMethod::Error => Err(Refusal::ProcessorFailed.into()),
        PaymentMethod::Late | PaymentMethod::LateDeclined => {
            let charge = money::insert_pending_charge(conn, intent, method.as_str()).await?;
            let intent = intents::mark_processing(conn, &intent.id, method.as_str(), &charge, late_seconds).await?;
            Ok(Done::with(&intent))
        }
    }
}

/// Ends a payment that was left to settle later.
pub(crate) async fn settle(conn: &mut PgConnection, intent: &PaymentIntent) -> sqlx::Result<()> {
    let method = intent.payment_method.as_deref().unwrap_or_default();
    let charge = intent.latest_charge.as_deref().unwrap_or_default();
    if method == PaymentMethod::LateDeclined.as_str() {
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
    let error = objects::decline(charge, payment_method);
    let intent = intents::mark_declined(conn, &intent.id, charge, &error).await?;
    events::insert(conn, "payment_intent.payment_failed", &intent, &objects::payment_intent(&intent)).await?;
    Ok(intent)
}

async fn refund(conn: &mut PgConnection, new: &NewRefund) -> Result<Done, Failure> {
    let intent = find(conn, &new.payment_intent, Refusal::UnknownPaymentIntent).await?;
    let capture = money::find_capture(conn, &intent.id).await?;
    let charge = capture.ok_or_else(|| Refusal::NothingToRefund(intent.id.clone()))?;
    let amount = charge.refundable(new.amount)?;
    let (refund, charge) = money::insert_refund(conn, new, &intent, &charge, amount).await?;
    let object = objects::refund(&refund);
    events::insert(conn, "charge.refunded", &intent, &objects::charge(&charge, &intent)).await?;
    events::insert(conn, "refund.updated", &intent, &object).await?;
    Ok(Done { object, silent: false })
}
