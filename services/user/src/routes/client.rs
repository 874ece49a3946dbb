//! The client of a request, by which logins and registrations are limited.

use std::{convert::Infallible, net::IpAddr};

use aide::OperationIo;
use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use platform::extract::ClientAddr;

use crate::{
    crypto::tokens::{TokenKey, random_token},
    domain::{ClientKeys, device::MAX_USER_AGENT_CHARS, limits::network},
    state::AppState,
};

#[derive(OperationIo)]
#[aide(input)]
pub(super) struct Client {
    pub(super) address: IpAddr,
    pub(super) user_agent: Option<String>,
    device_cookie: Option<String>,
}

impl Client {
    pub(super) fn keys(&self, key: &TokenKey) -> ClientKeys {
        ClientKeys {
            device: self.device_cookie.as_ref().map(|device| key.client_hash("device", device.as_bytes())),
            address: key.client_hash("address", &network(self.address)),
        }
    }

    /// Created now if the client sent none. A browser has one for all its accounts.
    pub(super) fn device_cookie(&mut self) -> String {
        self.device_cookie.get_or_insert_with(random_token).clone()
    }
}

impl FromRequestParts<AppState> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<ClientAddr>().map_or(std::net::Ipv4Addr::LOCALHOST.into(), |addr| addr.0);
        let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let devices = state.verifier.cookies().device_tokens(&parts.headers);
        Ok(Self {
            address,
            user_agent: user_agent.map(|text| text.chars().take(MAX_USER_AGENT_CHARS).collect()),
            // Only tokens of the length that we create: 256 bits that nobody can guess.
            device_cookie: devices.into_iter().find(|device| device.len() == random_token().len()).map(str::to_owned),
        })
    }
}
