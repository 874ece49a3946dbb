//! The URL table: the pages of the site, which are all `index.html`, and its files.

use axum::{
    Router,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    middleware::map_response,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use platform::{ApiError, error::Kind};

use crate::{
    PaymentProvider,
    assets::{self, Asset},
    events::Events,
    headers,
};

/// The page of an event.
const EVENT_PAGE: &str = "/events/{id}";

/// The other pages, each with its module in `frontend/src/router.js`.
const PAGES: [&str; 12] = [
    "/",
    "/login",
    "/register",
    "/me/account",
    "/me/bookings",
    "/me/bookings/{id}",
    "/me/notifications",
    "/organizer",
    "/organizer/events/new",
    "/organizer/events/{id}",
    "/organizer/events/{id}/bookings",
    "/admin",
];

/// The modules of the first page, most of which are those of every page, so that a browser asks for them before it has read the first one.
const FIRST_MODULES: &str = "</src/main.js>; rel=modulepreload, </src/dom.js>; rel=modulepreload, \
    </src/api.js>; rel=modulepreload, </src/amounts.js>; rel=modulepreload, </src/currencies.js>; rel=modulepreload, \
    </src/i18n.js>; rel=modulepreload, </src/session.js>; rel=modulepreload, \
    </src/live.js>; rel=modulepreload, </src/router.js>; rel=modulepreload, </src/views.js>; rel=modulepreload, \
    </src/cover.js>; rel=modulepreload, </src/pages/events.js>; rel=modulepreload";

/// The whole URL table of a site whose payments go to `provider`.
pub fn router(provider: PaymentProvider, events: Events) -> Router {
    let headers = headers::security_headers(provider);
    let pages = PAGES.iter().fold(Router::new(), |router, page| router.route(page, get(page_of_the_site)));
    let spelled_otherwise = PAGES.iter().chain([&EVENT_PAGE]).filter(|page| **page != "/");
    spelled_otherwise
        .fold(pages, |router, page| router.route(&format!("{page}/"), get(without_slash)))
        .route(EVENT_PAGE, get(event_page))
        .route("/favicon.ico", get(favicon))
        .route("/{*path}", get(file))
        .with_state(events)
        .method_not_allowed_fallback(not_allowed)
        .layer(map_response(move |response| std::future::ready(headers::harden(response, headers.clone()))))
}

async fn page_of_the_site(headers: HeaderMap) -> Response {
    page(StatusCode::OK, &headers)
}

/// The same page, with a status that tells search engines and previews whether the event exists.
async fn event_page(
    State(events): State<Events>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let missing = match id {
        Ok(Path(id)) => events.is_missing(&id).await,
        Err(_) => true,
    };
    page(if missing { StatusCode::NOT_FOUND } else { StatusCode::OK }, &headers)
}

fn page(status: StatusCode, headers: &HeaderMap) -> Response {
    let mut response = assets::answer(index(), status, headers);
    response.headers_mut().insert(header::LINK, header::HeaderValue::from_static(FIRST_MODULES));
    response
}

/// A page has one address: without a slash at its end.
async fn without_slash(uri: Uri) -> Redirect {
    let path = uri.path().trim_end_matches('/');
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Redirect::permanent(&format!("{path}{query}"))
}

/// Clients that have not read the page's link to its icon ask for this path.
async fn favicon(headers: HeaderMap) -> Response {
    assets::answer(Asset::find("/icon.svg").expect("the build embeds icon.svg"), StatusCode::OK, &headers)
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
