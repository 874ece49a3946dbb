//! The company that moves the money, as this service sees it: [`PaymentGateway`]. [`stripe`] is its implementation
//! for Stripe's API, which the mock gateway speaks as well. Amounts are minor units of ISO 4217 on this side; the
//! implementation converts.
//!
//! A charge goes in two steps. Creating one never moves money and gives it a name; confirming the named charge does.
//! So whoever knows the name can always find out what became of it, and a cancelled charge never moves money later.

mod signature;
pub mod stripe;

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use thiserror::Error;

pub use self::signature::sign;
use crate::domain::charge::{Charge, ListedCharge};

/// What is to be charged.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The attempt, for the gateway's records.
    pub payment_id: i32,
    /// The booking, for the gateway's records.
    pub booking_id: i32,
    /// Minor units of `currency`.
    pub amount: i64,
    /// ISO 4217.
    pub currency: &'a str,
}

/// A part of the gateway's list of charges.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChargePage {
    /// Those of ours, newest first.
    pub charges: Vec<ListedCharge>,
    /// What the next part begins after; `None` on the last one.
    pub next_after: Option<String>,
}

/// A refund as the gateway tells of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GatewayRefund {
    /// The gateway's name for it; absent if it only says that the money went back before.
    pub id: Option<String>,
    /// Where it stands.
    pub state: GatewayRefundState,
}

/// Where a refund stands at the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GatewayRefundState {
    /// Not decided yet.
    Pending,
    /// The money went back.
    Succeeded,
    /// It did not, and another refund is needed.
    Failed,
}

/// Why a call of the gateway gave no result.
#[derive(Debug, Error)]
pub enum GatewayFailure {
    /// The card or the like was declined: nothing was charged.
    #[error("declined: {0}")]
    Declined(String),
    /// The request was refused, for good.
    #[error("refused with {code}: {message}")]
    Refused {
        /// The gateway's word.
        code: String,
        /// The parameter at fault, as the gateway calls it.
        parameter: Option<String>,
        /// For people.
        message: String,
    },
    /// The gateway answered that it failed. It may have acted all the same.
    #[error("failed: {0}")]
    Failed(String),
    /// No answer: it may have acted.
    #[error("no answer")]
    Unknown(#[source] anyhow::Error),
}

/// A webhook that was not signed by the gateway, or too long ago.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Forged(pub &'static str);

/// What a call of the gateway gives.
pub type GatewayResult<'a, T> = BoxFuture<'a, Result<T, GatewayFailure>>;

/// A payment company. Every call has a deadline. Calls with a `key` do their work once for each key, and are made again
/// by the implementation while their outcome is unknown.
pub trait PaymentGateway: Send + Sync {
    /// Names a charge. Moves no money.
    fn create<'a>(&'a self, key: &'a str, order: Order<'a>) -> GatewayResult<'a, Charge>;
    /// Moves the money, with the customer's payment method.
    fn confirm<'a>(&'a self, key: &'a str, charge_id: &'a str, payment_method: &'a str) -> GatewayResult<'a, Charge>;
    /// What became of a charge.
    fn find<'a>(&'a self, charge_id: &'a str) -> GatewayResult<'a, Charge>;
    /// Charges made since `since`, newest first, those after `after`.
    fn list<'a>(&'a self, since: DateTime<Utc>, after: Option<&'a str>) -> GatewayResult<'a, ChargePage>;
    /// Makes sure that a charge that moved no money never will.
    fn cancel<'a>(&'a self, charge_id: &'a str) -> GatewayResult<'a, Charge>;
    /// Gives back the whole of a charge.
    fn refund<'a>(
        &'a self,
        key: &'a str,
        charge_id: &'a str,
        amount: i64,
        currency: &'a str,
    ) -> GatewayResult<'a, GatewayRefund>;
    /// What became of a refund.
    fn find_refund<'a>(&'a self, refund_id: &'a str) -> GatewayResult<'a, GatewayRefund>;
    /// The charge that a webhook is about, if it is about one. What else it says is not to be trusted.
    fn read_webhook(&self, headers: &HeaderMap, body: &[u8], now: DateTime<Utc>) -> Result<Option<String>, Forged>;
}
