//! Charges as the payment gateway reports them.

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Charge {
    /// The gateway's id of the charge.
    pub id: String,
    pub state: ChargeState,
    /// Why the last attempt to confirm it was declined.
    pub decline: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChargeState {
    /// No money has moved, but it still may.
    Open,
    /// The gateway has not decided yet.
    Processing,
    /// The money has moved.
    Succeeded,
    /// No money has moved, and none ever will.
    Cancelled,
}

/// A charge in the gateway's list that was made for one of our bookings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedCharge {
    pub charge: Charge,
    /// Minor units.
    pub amount: i64,
    pub booking_id: i32,
}
