//! The public keys of access tokens.

use axum::{Json, extract::State};

use crate::{signing::JwksResponse, state::AppState};

pub(super) async fn jwks(State(state): State<AppState>) -> Json<JwksResponse> {
    Json(state.signing.jwks())
}
