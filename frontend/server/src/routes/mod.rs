//! The whole URL table: the pages of the site, which are all `index.html`, and its files.

pub mod assets;
pub mod security_headers;

use axum::{
    Router,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    middleware::map_response,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use contracts::payment::Provider;
use platform::{ApiError, error::Kind};

use self::assets::Asset;
use crate::clients::event_service::EventClient;

const EVENT_PAGE: &str = "/events/{id}";
/// The scanner at the door, which may use the camera.
const SCAN_PAGE: &str = "/scan";

/// The other pages. `frontend/src/router.js` has the module of each one.
const PAGES: [&str; 13] = [
    "/",
    "/login",
    "/register",
    "/me/account",
    "/me/bookings",
    "/me/bookings/{id}",
    "/me/notifications",
    "/me/tickets/{id}",
    "/organizer",
    "/organizer/events/new",
    "/organizer/events/{id}",
    "/organizer/events/{id}/bookings",
    "/admin",
];

/// Browsers load these modules, which most pages need, at once instead of after the modules that import them.
const PRELOADED_MODULES: &str = "</src/main.js>; rel=modulepreload, </src/dom.js>; rel=modulepreload, \
    </src/api.js>; rel=modulepreload, </src/amounts.js>; rel=modulepreload, </src/currencies.js>; rel=modulepreload, \
    </src/i18n.js>; rel=modulepreload, </src/session.js>; rel=modulepreload, \
    </src/live.js>; rel=modulepreload, </src/router.js>; rel=modulepreload, </src/views.js>; rel=modulepreload, \
    </src/categories.js>; rel=modulepreload, </src/cover.js>; rel=modulepreload, \
    </src/pages/events.js>; rel=modulepreload";

pub fn router(provider: Provider, events: EventClient) -> Router {
    let headers = security_headers::security_headers(provider);
    let pages = PAGES.iter().fold(Router::new(), |router, page| router.route(page, get(static_page)));
    let with_slash = PAGES.iter().chain([&EVENT_PAGE, &SCAN_PAGE]).filter(|page| **page != "/");
    with_slash
        .fold(pages, |router, page| router.route(&format!("{page}/"), get(redirect_without_slash)))
        .route(EVENT_PAGE, get(event_page))
        .route(SCAN_PAGE, get(scan_page))
        .route("/favicon.ico", get(favicon))
        .route("/{*path}", get(file))
        .with_state(events)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(map_response(move |response| {
            std::future::ready(security_headers::add_headers(response, headers.clone()))
        }))
}

async fn static_page(headers: HeaderMap) -> Response {
    page(StatusCode::OK, &headers)
}

async fn scan_page(headers: HeaderMap) -> Response {
    security_headers::with_camera(page(StatusCode::OK, &headers))
}

/// The status tells search engines and link previews whether the event exists.
async fn event_page(
    State(events): State<EventClient>,
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
    let mut response = assets::respond(index(), status, headers);
    response.headers_mut().insert(header::LINK, header::HeaderValue::from_static(PRELOADED_MODULES));
    response
}

/// Every page has one URL, without a slash at the end.
async fn redirect_without_slash(uri: Uri) -> Redirect {
    let path = uri.path().trim_end_matches('/');
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Redirect::permanent(&format!("{path}{query}"))
}

/// Some clients request this path instead of the icon that the page links to.
async fn favicon(headers: HeaderMap) -> Response {
    assets::respond(Asset::find("/icon.svg").expect("the build embeds icon.svg"), StatusCode::OK, &headers)
}

/// A file. For an unknown path, browsers get the site, which shows a page about it, and programs get an error.
async fn file(uri: Uri, headers: HeaderMap) -> Result<Response, ApiError> {
    if let Some(asset) = Asset::find(uri.path()) {
        return Ok(assets::respond(asset, StatusCode::OK, &headers));
    }
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/html") && !uri.path().starts_with("/src/") {
        return Ok(assets::respond(index(), StatusCode::NOT_FOUND, &headers));
    }
    Err(ApiError::not_found("route_not_found", format!("nothing is at {}", uri.path())))
}

async fn method_not_allowed(method: Method, request: Request) -> Response {
    let kind = Kind::BadRequest(StatusCode::METHOD_NOT_ALLOWED);
    let detail = format!("{} is for reading, not for {method}", request.uri().path());
    let mut response = ApiError::new(kind, "method_not_allowed", detail).into_response();
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET,HEAD"));
    response
}

fn index() -> &'static Asset {
    Asset::find("/index.html").expect("the build embeds index.html")
}
