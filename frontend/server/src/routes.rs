//! The URL table: the pages of the site, which are all `index.html`, and its files.

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use platform::{ApiError, error::Kind};

use crate::{
    assets::{self, Asset},
    headers,
};

/// The pages, each with its module in `frontend/src/router.js`.
const PAGES: [&str; 10] = [
    "/",
    "/events/{id}",
    "/login",
    "/register",
    "/me/bookings",
    "/me/bookings/{id}",
    "/me/notifications",
    "/organizer",
    "/organizer/events/new",
    "/organizer/events/{id}",
];

/// The whole URL table.
pub fn router() -> Router {
    PAGES
        .iter()
        .fold(Router::new(), |router, page| router.route(page, get(page_of_the_site)))
        .route("/{*path}", get(file))
        .method_not_allowed_fallback(not_allowed)
        .layer(map_response(headers::harden))
}

async fn page_of_the_site(headers: HeaderMap) -> Response {
    assets::answer(index(), StatusCode::OK, &headers)
}

/// A file, or for a person who followed a dead link the site's own page about that.
async fn file(uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    if let Some(asset) = Asset::find(uri.path()) {
        return Ok(assets::answer(asset, StatusCode::OK, &headers));
    }
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/html") && !uri.path().starts_with("/src/") {
        return Ok(assets::answer(index(), StatusCode::NOT_FOUND, &headers));
    }
    Err(ApiError::not_found("route_not_found", format!("nothing is at {}", uri.path())))
}

async fn not_allowed(method: Method, request: Request) -> Response {
    let kind = Kind::BadRequest(StatusCode::METHOD_NOT_ALLOWED);
    let detail = format!("{} is for reading, not for {method}", request.uri().path());
    let mut response = ApiError::new(kind, "method_not_allowed", detail).into_response();
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET,HEAD"));
    response
}

fn index() -> &'static Asset {
    Asset::find("/index.html").expect("the build embeds index.html")
}
