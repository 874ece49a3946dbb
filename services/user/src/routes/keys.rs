//! What other services need to verify access tokens: the public keys, and the ended sessions and changed roles.

use std::time::Duration;

use aide::{OperationOutput, generate::GenContext, openapi};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use contracts::identity::RevocationList;
use platform::{ApiResult, auth::LEEWAY_SECONDS};
use sha2::{Digest, Sha256};

use crate::{signing::JwksResponse, state::AppState};

/// Extra time, for clocks that differ and for tokens that were being signed while their session ended.
const MARGIN: Duration = Duration::from_secs(LEEWAY_SECONDS.unsigned_abs() + 60);

/// The list with its entity tag, or only the tag if the caller already has the list.
pub(super) struct TaggedList {
    etag: String,
    list: Option<Vec<u8>>,
}

pub(super) async fn jwks(State(state): State<AppState>) -> Json<JwksResponse> {
    Json(state.signing.jwks())
}

/// Everything that changed within the lifetime of an access token. It is polled every few seconds, hence the entity
/// tag.
pub(super) async fn revocations(State(state): State<AppState>, headers: HeaderMap) -> ApiResult<TaggedList> {
    let lifetime = Duration::from_secs(state.rules.access_token_seconds.into()) + MARGIN;
    let list = state.store.list_revocations(lifetime).await?;
    let json = serde_json::to_vec(&*list).expect("a list is plain data");
    let etag = format!("\"{}\"", hex::encode(&Sha256::digest(&json)[..16]));
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == etag.as_bytes());
    Ok(TaggedList { etag, list: (!known).then_some(json) })
}

impl IntoResponse for TaggedList {
    fn into_response(self) -> Response {
        let headers = [(header::ETAG, self.etag), (header::CACHE_CONTROL, "no-cache".to_owned())];
        match self.list {
            Some(json) => (headers, [(header::CONTENT_TYPE, "application/json")], json).into_response(),
            None => (StatusCode::NOT_MODIFIED, headers).into_response(),
        }
    }
}

impl OperationOutput for TaggedList {
    type Inner = RevocationList;

    fn operation_response(ctx: &mut GenContext, operation: &mut openapi::Operation) -> Option<openapi::Response> {
        Json::<RevocationList>::operation_response(ctx, operation)
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut openapi::Operation,
    ) -> Vec<(Option<openapi::StatusCode>, openapi::Response)> {
        let mut responses = Json::<RevocationList>::inferred_responses(ctx, operation);
        let unchanged =
            openapi::Response { description: "the list still matches If-None-Match".into(), ..Default::default() };
        responses.push((Some(openapi::StatusCode::Code(304)), unchanged));
        responses
    }
}
