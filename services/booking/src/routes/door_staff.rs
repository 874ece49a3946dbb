//! Who may check tickets in: the event's organizer, admins, and people with a door link.

use aide::OperationIo;
use axum::{extract::FromRequestParts, http::request::Parts};
use contracts::identity::Role;
use platform::{
    ApiError, ApiResult,
    auth::{AuthUser, extract::bearer},
};

use super::organizer::require_organizer;
use crate::{
    crypto::door_token,
    domain::DoorLink,
    error::{door_link_over, not_this_door},
    state::AppState,
};

/// Somebody who may check tickets of some event in; which one has to be asked. 401 for others.
#[derive(Debug, OperationIo)]
#[aide(input_with = "AuthUser")]
pub(super) enum DoorStaff {
    Account(AuthUser),
    Link(DoorLink),
}

impl FromRequestParts<AppState> for DoorStaff {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> ApiResult<Self> {
        let Some(token) = bearer(&parts.headers).filter(|token| door_token::is_door_token(token)) else {
            return AuthUser::from_request_parts(parts, state).await.map(Self::Account);
        };
        let link = state.store.find_active_door_link(&door_token::hash(token), state.clock.now()).await?;
        link.map(Self::Link).ok_or_else(door_link_over)
    }
}

impl DoorStaff {
    /// 403 `role_required` for accounts that organize nothing, before the request is read.
    pub(super) fn require_any_event(&self) -> ApiResult<()> {
        match self {
            Self::Account(user) => user.require_role(&[Role::Organizer, Role::Admin]),
            Self::Link(_) => Ok(()),
        }
    }

    /// Fails with 403 `not_your_event` or `not_this_door`, or 404 `event_not_found`.
    pub(super) async fn require_event(&self, state: &AppState, event_id: &str) -> ApiResult<()> {
        match self {
            Self::Account(user) => require_organizer(state, user, event_id).await.map(drop),
            Self::Link(link) if link.event_id == event_id => Ok(()),
            Self::Link(_) => Err(not_this_door()),
        }
    }
}
