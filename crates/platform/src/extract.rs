//! Bodies, paths and queries, read so that every refusal is a problem; and the answers that are not plain 200 JSON.

use std::net::SocketAddr;

#[cfg(feature = "api")]
use aide::{
    OperationInput, OperationIo, OperationOutput,
    generate::GenContext,
    openapi::{Operation, Response as ApiResponse, StatusCode as ApiStatus},
};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use contracts::problem::INVALID_JSON;
#[cfg(feature = "api")]
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{ApiError, ApiResult, error::Kind, json};

/// The largest body of a request, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// A JSON body that is looked at only when [`JsonBody::parse`] is called, so that 401, 403 and 404 come first.
#[derive(Debug)]
pub struct JsonBody<T> {
    bytes: ApiResult<Bytes>,
    marker: std::marker::PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> JsonBody<T> {
    /// The body.
    ///
    /// Fails with 413 `body_too_large`, 415 `unsupported_media_type` or `unsupported_encoding`, or 400 `invalid_json`
    /// (which names the field, and covers unknown fields).
    pub fn parse(self) -> ApiResult<T> {
        json::from_slice(&self.bytes?)
            .map_err(|fault| ApiError::bad_request(INVALID_JSON, format!("the body does not fit: {fault}")))
    }

    /// The body, or `T`'s default where there is none.
    pub fn parse_or_default(self) -> ApiResult<T>
    where
        T: Default,
    {
        match &self.bytes {
            Ok(bytes) if bytes.is_empty() => Ok(T::default()),
            _ => self.parse(),
        }
    }
}

impl<T, S: Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let content_type = media_type(request.headers());
        let bytes = RawBody::from_request(request, state).await.map(|body| body.0).and_then(|bytes| {
            if bytes.is_empty() || is_json(content_type.as_deref()) {
                return Ok(bytes);
            }
            Err(ApiError::new(
                Kind::BadRequest(StatusCode::UNSUPPORTED_MEDIA_TYPE),
                "unsupported_media_type",
                "send the body as application/json and say so in Content-Type",
            ))
        });
        Ok(Self { bytes, marker: std::marker::PhantomData })
    }
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn is_json(media_type: Option<&str>) -> bool {
    media_type.is_some_and(|t| t == "application/json" || (t.starts_with("application/") && t.ends_with("+json")))
}

/// Refuses a compressed body: none is unpacked, so that the limit applies to the content.
fn require_plain(headers: &HeaderMap) -> ApiResult<()> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if encodings.all(|value| value.is_empty() || value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    Err(ApiError::new(
        Kind::BadRequest(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        "unsupported_encoding",
        "send the body as it is, without Content-Encoding",
    ))
}

/// A body as it arrived, for signatures over its bytes. 413 `body_too_large` over [`MAX_BODY_BYTES`], 415
/// `unsupported_encoding` for a compressed one.
#[derive(Debug)]
pub struct RawBody(pub Bytes);

impl<S: Sync> FromRequest<S> for RawBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        require_plain(&parts.headers)?;
        let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > MAX_BODY_BYTES) {
            return Err(too_large());
        }
        axum::body::to_bytes(body, MAX_BODY_BYTES).await.map(Self).map_err(|error| {
            let limited = std::error::Error::source(&error)
                .is_some_and(<dyn std::error::Error + 'static>::is::<http_body_util::LengthLimitError>);
            if limited {
                too_large()
            } else {
                ApiError::bad_request("body_interrupted", "the body did not arrive whole")
            }
        })
    }
}

fn too_large() -> ApiError {
    ApiError::new(
        Kind::BadRequest(StatusCode::PAYLOAD_TOO_LARGE),
        "body_too_large",
        format!("the body is larger than {MAX_BODY_BYTES} bytes"),
    )
}

/// The path's parameters; 404 `not_found` if they do not parse.
#[derive(Debug)]
#[cfg_attr(feature = "api", derive(OperationIo), aide(input_with = "axum::extract::Path<T>", json_schema))]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(_) => Err(ApiError::not_found("not_found", format!("nothing is at {}", parts.uri.path()))),
        }
    }
}

/// The query's parameters; 400 `invalid_query` where they do not parse or are unknown.
#[derive(Debug)]
#[cfg_attr(feature = "api", derive(OperationIo), aide(input_with = "axum::extract::Query<T>", json_schema))]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|rejection| ApiError::bad_request("invalid_query", rejection.body_text()))
    }
}

/// The client's address as seen by the listener or told by the proxy in front (see `TRUST_FORWARDED_FOR` and
/// `TRUSTED_PROXIES`).
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "api", derive(OperationIo), aide(input))]
pub struct ClientAddr(pub std::net::IpAddr);

impl<S: Sync> FromRequestParts<S> for ClientAddr {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<Self>().copied();
        Ok(peer.unwrap_or(Self(std::net::Ipv4Addr::LOCALHOST.into())))
    }
}

impl ClientAddr {
    /// The address to go by: the peer's, or the entry of X-Forwarded-For that the outermost of so many trusted proxies
    /// added. Earlier entries come from the client and may be forged.
    pub fn resolve(peer: SocketAddr, headers: &HeaderMap, trusted_hops: usize) -> Self {
        let values = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let entries: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
        // Whoever came by fewer proxies was seen by the first of them.
        let hops = trusted_hops.min(entries.len());
        let told = hops.checked_sub(1).and_then(|back| entries.iter().rev().nth(back)?.parse().ok());
        Self(told.unwrap_or(peer.ip()))
    }
}

/// 201 with a JSON body.
#[derive(Debug)]
pub struct Created<T>(pub T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, axum::Json(self.0)).into_response()
    }
}

#[cfg(feature = "api")]
impl<T: JsonSchema> OperationOutput for Created<T> {
    type Inner = T;

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
        axum::Json::<T>::operation_response(ctx, operation)
    }

    fn inferred_responses(ctx: &mut GenContext, operation: &mut Operation) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        Self::operation_response(ctx, operation)
            .map(|response| (Some(ApiStatus::Code(201)), response))
            .into_iter()
            .collect()
    }
}

// Not derived, as for `RawBody`: that would also describe the plain texts by which `axum::Json` refuses a body.
#[cfg(feature = "api")]
impl<T: JsonSchema> OperationInput for JsonBody<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        axum::Json::<T>::operation_input(ctx, operation);
    }
}

#[cfg(feature = "api")]
impl OperationInput for RawBody {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        axum::Json::<serde_json::Value>::operation_input(ctx, operation);
    }
}

#[cfg(feature = "api")]
impl OperationOutput for ApiError {
    type Inner = crate::error::Problem;

    fn operation_response(ctx: &mut GenContext, operation: &mut Operation) -> Option<ApiResponse> {
        let mut response = axum::Json::<crate::error::Problem>::operation_response(ctx, operation)?;
        if let Some(media) = response.content.shift_remove("application/json") {
            response.content.insert("application/problem+json".to_owned(), media);
        }
        Some(response)
    }

    fn inferred_responses(ctx: &mut GenContext, operation: &mut Operation) -> Vec<(Option<ApiStatus>, ApiResponse)> {
        Self::operation_response(ctx, operation).map(|response| (None, response)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_client_is_as_many_entries_from_the_end_as_proxies_are_trusted() {
        let peer: SocketAddr = "10.0.0.1:4711".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", HeaderValue::from_static("1.1.1.1, 2.2.2.2"));
        headers.append("x-forwarded-for", HeaderValue::from_static("3.3.3.3"));
        let client = |headers: &HeaderMap, hops| ClientAddr::resolve(peer, headers, hops).0.to_string();

        assert_eq!(client(&headers, 0), "10.0.0.1");
        assert_eq!(client(&headers, 1), "3.3.3.3");
        assert_eq!(client(&headers, 2), "2.2.2.2");
        assert_eq!(client(&headers, 9), "1.1.1.1");
        assert_eq!(client(&HeaderMap::new(), 2), "10.0.0.1");
        headers.append("x-forwarded-for", HeaderValue::from_static("unknown"));
        assert_eq!(client(&headers, 1), "10.0.0.1");
    }
}
