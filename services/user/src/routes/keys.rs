//! What other services need to verify access tokens: the public keys, and the ended sessions and changed roles.

use std::{sync::Arc, time::Duration};

use aide::{OperationOutput, generate::GenContext, openapi};
use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use contracts::identity::RevocationList;
use platform::{ApiResult, auth::LEEWAY_SECONDS};
use sha2::{Digest, Sha256};
use tokio::{sync::Mutex, time::Instant};

use crate::{signing::JwksResponse, state::AppState};

/// Extra time, for clocks that differ and for tokens that were being signed while their session ended.
const MARGIN: Duration = Duration::from_secs(LEEWAY_SECONDS.unsigned_abs() + 60);

/// The list, or only its entity tag if the caller already has it.
pub(super) enum RevocationAnswer {
    Changed(Arc<TaggedList>),
    Unchanged(Arc<TaggedList>),
}

/// The list as it is sent.
pub(super) struct TaggedList {
    etag: String,
    json: Bytes,
}

impl TaggedList {
    fn new(list: &RevocationList) -> Self {
        let json = Bytes::from(serde_json::to_vec(list).expect("a list is plain data"));
        Self { etag: format!("\"{}\"", hex::encode(&Sha256::digest(&json)[..16])), json }
    }
}

/// Reads the list once for all who ask at the same time, so that many polls take one connection to the database.
#[derive(Default)]
pub struct SharedRevocations {
    latest: Mutex<Option<(Instant, Arc<TaggedList>)>>,
}

impl SharedRevocations {
    /// A list that was read after this call began.
    async fn get<E>(&self, read: impl Future<Output = Result<RevocationList, E>>) -> Result<Arc<TaggedList>, E> {
        let asked = Instant::now();
        let mut latest = self.latest.lock().await;
        match &*latest {
            Some((began, list)) if *began >= asked => Ok(list.clone()),
            _ => {
                let began = Instant::now();
                let list = Arc::new(TaggedList::new(&read.await?));
                *latest = Some((began, list.clone()));
                Ok(list)
            }
        }
    }
}

pub(super) async fn jwks(State(state): State<AppState>) -> Json<JwksResponse> {
    Json(state.signing.jwks())
}

/// Everything that changed within the lifetime of an access token. It is polled every few seconds, hence the entity
/// tag.
pub(super) async fn revocations(State(state): State<AppState>, headers: HeaderMap) -> ApiResult<RevocationAnswer> {
    let lifetime = Duration::from_secs(state.rules.access_token_seconds.into()) + MARGIN;
    let list = state.revocations.get(state.store.list_revocations(lifetime)).await?;
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == list.etag.as_bytes());
    Ok(if known { RevocationAnswer::Unchanged(list) } else { RevocationAnswer::Changed(list) })
}

impl IntoResponse for RevocationAnswer {
    fn into_response(self) -> Response {
        let headers = |etag: &str| [(header::ETAG, etag.to_owned()), (header::CACHE_CONTROL, "no-cache".to_owned())];
        match self {
            Self::Changed(list) => {
                (headers(&list.etag), [(header::CONTENT_TYPE, "application/json")], list.json.clone()).into_response()
            }
            Self::Unchanged(list) => (StatusCode::NOT_MODIFIED, headers(&list.etag)).into_response(),
        }
    }
}

impl OperationOutput for RevocationAnswer {
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

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use futures::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_at_once_share_a_reading_that_began_no_earlier() {
        const READING: Duration = Duration::from_millis(10);
        let (shared, readings) = (SharedRevocations::default(), AtomicUsize::new(0));
        let ask = async |after: Duration| {
            tokio::time::sleep(after).await;
            let read = async {
                let number = readings.fetch_add(1, Relaxed) + 1;
                tokio::time::sleep(READING).await;
                Ok::<_, Infallible>(RevocationList { sessions: vec![number.to_string()], ..RevocationList::default() })
            };
            shared.get(read).await.unwrap().json.clone()
        };

        let (first, meanwhile) = tokio::join!(ask(Duration::ZERO), join_all((0..100).map(|_| ask(READING / 2))));

        assert!(meanwhile.iter().all(|list| *list != first && *list == meanwhile[0]));
        assert_eq!(readings.load(Relaxed), 2);
    }
}
