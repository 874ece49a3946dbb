//! What other services need to verify access tokens: the public keys, and the list of revocations.

use std::time::Duration;

use aide::OperationIo;
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use contracts::identity::RevocationList;
use platform::{ApiResult, auth::LEEWAY_SECONDS};
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{crypto::signing::PublicKey, state::AppState};

/// For clocks that differ, and for tokens that were being signed while their session ended.
const MARGIN: Duration = Duration::from_secs(LEEWAY_SECONDS.unsigned_abs() + 60);

/// A JWK Set (RFC 7517).
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct JwksResponse {
    keys: Vec<JwkResponse>,
}

/// An Ed25519 public key (RFC 8037).
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct JwkResponse {
    /// Always `OKP`.
    kty: &'static str,
    /// Always `Ed25519`.
    crv: &'static str,
    /// The public key, base64url.
    x: String,
    /// The key id that tokens carry.
    kid: String,
    /// Always `EdDSA`.
    alg: &'static str,
    /// Always `sig`.
    #[serde(rename = "use")]
    usage: &'static str,
}

/// The list with its ETag, or only the ETag if the caller already has the list.
#[derive(OperationIo)]
#[aide(output_with = "Json<RevocationList>")]
pub(super) struct TaggedList {
    etag: String,
    list: Option<Vec<u8>>,
}

pub(super) async fn list_keys(State(state): State<AppState>) -> Json<JwksResponse> {
    let keys = state.signing.published().into_iter().map(JwkResponse::from).collect();
    Json(JwksResponse { keys })
}

/// Everything that changed within the lifetime of an access token. The list is polled every few seconds, hence the ETag.
pub(super) async fn list_revocations(State(state): State<AppState>, headers: HeaderMap) -> ApiResult<TaggedList> {
    let lifetime = Duration::from_secs(state.policy.access_token_seconds.into()) + MARGIN;
    let list = state.store.list_revocations(lifetime).await?;
    let json = serde_json::to_vec(&*list).expect("the list has only strings and numbers");
    let etag = format!("\"{}\"", hex::encode(&Sha256::digest(&json)[..16]));
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == etag.as_bytes());
    Ok(TaggedList { etag, list: (!known).then_some(json) })
}

impl From<PublicKey> for JwkResponse {
    fn from(PublicKey { kid, x }: PublicKey) -> Self {
        Self { kty: "OKP", crv: "Ed25519", x, kid, alg: "EdDSA", usage: "sig" }
    }
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
