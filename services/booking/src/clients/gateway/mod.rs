//! The payment gateway: [`PaymentGateway`], and [`stripe`], its implementation for Stripe's API, which the mock gateway
//! also speaks. Amounts here are minor units of ISO 4217; the implementation converts.
//!
//! A charge takes two steps. Creating it assigns an id and never moves money; confirming it by its id does. So the
//! outcome of a charge with a stored id can always be found out, and a cancelled charge never moves money later.

mod signature;
pub mod stripe;

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use thiserror::Error;

pub use self::signature::sign;
use crate::domain::charge::{Charge, ListedCharge};

#[derive(Clone, Copy, Debug)]
pub struct NewCharge<'a> {
    /// For the gateway's records.
    pub booking_id: i32,
    /// Minor units of `currency`.
    pub amount: i64,
    /// ISO 4217.
    pub currency: &'a str,
}

/// A page of the gateway's list of charges.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChargePage {
    /// Those of our bookings, newest first.
    pub charges: Vec<ListedCharge>,
    /// The charge after which the next page begins; `None` on the last page.
    pub next_after: Option<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GatewayRefund {
    /// The gateway's id of the refund; absent if the gateway only says that the charge was refunded before.
    pub id: Option<String>,
    pub state: GatewayRefundState,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GatewayRefundState {
    /// The gateway has not decided yet.
    Pending,
    /// The money was returned.
    Succeeded,
    /// The money was not returned; another refund is needed.
    Failed,
}

/// Why a call to the gateway gave no result.
#[derive(Debug, Error)]
pub enum GatewayFailure {
    /// The payment method was declined: nothing was charged.
    #[error("declined: {0}")]
    Declined(String),
    /// The request was refused permanently.
    #[error("refused with {code}: {message}")]
    Refused {
        code: String,
        /// The invalid parameter, by the gateway's name.
        parameter: Option<String>,
        message: String,
    },
    /// The gateway reported a failure of its own. It may have acted nevertheless.
    #[error("failed: {0}")]
    Failed(String),
    /// There was no answer; the gateway may have acted.
    #[error("no answer")]
    Unknown(#[source] anyhow::Error),
}

/// A webhook without a valid signature of the gateway, or with an old one.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct InvalidSignature(pub &'static str);

pub type GatewayResult<'a, T> = BoxFuture<'a, Result<T, GatewayFailure>>;

/// A payment provider. Every call has a timeout. Calls with a `key` are idempotent by it, and the implementation
/// repeats them while their outcome is unknown.
pub trait PaymentGateway: Send + Sync {
    /// Creates a charge, which gets its id. Moves no money.
    fn create_charge<'a>(&'a self, key: &'a str, charge: NewCharge<'a>) -> GatewayResult<'a, Charge>;
    /// Moves the money, from the customer's payment method.
    fn confirm_charge<'a>(
        &'a self,
        key: &'a str,
        charge_id: &'a str,
        payment_method: &'a str,
    ) -> GatewayResult<'a, Charge>;
    fn fetch_charge<'a>(&'a self, charge_id: &'a str) -> GatewayResult<'a, Charge>;
    /// Charges created since `since`, newest first, following the charge `after`.
    fn list_charges<'a>(&'a self, since: DateTime<Utc>, after: Option<&'a str>) -> GatewayResult<'a, ChargePage>;
    /// Cancels a charge that has moved no money, so that it never will.
    fn cancel_charge<'a>(&'a self, charge_id: &'a str) -> GatewayResult<'a, Charge>;
    /// Refunds the whole charge.
    fn refund_charge<'a>(
        &'a self,
        key: &'a str,
        charge_id: &'a str,
        amount: i64,
        currency: &'a str,
    ) -> GatewayResult<'a, GatewayRefund>;
    fn fetch_refund<'a>(&'a self, refund_id: &'a str) -> GatewayResult<'a, GatewayRefund>;
    /// The id of the charge that a webhook is about, if any. Nothing else in a webhook is trusted.
    fn parse_webhook(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Option<String>, InvalidSignature>;
}
