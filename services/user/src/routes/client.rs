//! Where a request comes from, for the limits on logins and registrations.

use std::{convert::Infallible, net::IpAddr};

use aide::OperationInput;
use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use platform::extract::ClientAddr;

use crate::{
    domain::device::MAX_USER_AGENT,
    state::AppState,
    store::ClientKeys,
    throttle::network,
    tokens::{TokenKey, random_token},
};

/// The address, the device cookie and the name of a client.
pub(super) struct Client {
    pub(super) address: IpAddr,
    pub(super) user_agent: Option<String>,
    device: Option<String>,
}

impl Client {
    /// The hashes by which it is recognized.
    pub(super) fn keys(&self, key: &TokenKey) -> ClientKeys {
        ClientKeys {
            device: self.device.as_ref().map(|device| key.client("device", device.as_bytes())),
            address: key.client("address", &network(self.address)),
        }
    }

    /// Its device cookie, created now if it has none. A browser has one for all its accounts.
    pub(super) fn device(&mut self) -> String {
        self.device.get_or_insert_with(random_token).clone()
    }
}

impl FromRequestParts<AppState> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<ClientAddr>().map_or(std::net::Ipv4Addr::LOCALHOST.into(), |addr| addr.0);
        let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let device = state.verifier.cookies().device_token(&parts.headers);
        Ok(Self {
            address,
            user_agent: user_agent.map(|text| text.chars().take(MAX_USER_AGENT).collect()),
            // Only tokens that we made: 256 bits that nobody can guess.
            device: device.filter(|device| device.len() == random_token().len()).map(str::to_owned),
        })
    }
}

impl OperationInput for Client {}
