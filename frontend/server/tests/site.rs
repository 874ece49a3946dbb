//! The site over HTTP: pages, files, caching, headers and errors.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::{
    collections::BTreeSet,
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
    routing::get as get_route,
};
use contracts::payment::Provider;
use flate2::read::GzDecoder;
use frontend_server::{
    app::App,
    clients::event_service::EventClient,
    config::Config,
    routes::{
        assets::{ASSETS, Asset},
        security_headers::content_security_policy,
    },
};
use http_body_util::BodyExt;
use platform::server::with_defaults;
use tokio::net::TcpListener;
use tower::ServiceExt;

#[path = "../minify.rs"]
mod minify;

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

async fn send(method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
    send_to(&["frontend"], method, path, headers).await
}

/// Sends a request to a server with these settings.
async fn send_to(settings: &[&str], method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
    use clap::Parser;
    let config = Config::try_parse_from(settings).unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let router = with_defaults(App::build(&config).router(), &config.server);
    let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    Reply { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes().to_vec() }
}

async fn get(path: &str) -> Reply {
    send(Method::GET, path, &[]).await
}

#[tokio::test]
async fn every_page_is_the_index() {
    for page in ["/", "/events/66f", "/login", "/me/bookings/7", "/organizer/events/new", "/organizer/events/66f"] {
        let reply = get(page).await;

        assert_eq!(reply.status, StatusCode::OK, "{page}");
        assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(reply.header("cache-control"), "no-cache");
        assert!(reply.text().contains("<main id=\"main\""));
    }
}

/// An event-service that answers every request with `status`. Returns its URL and a counter of requests.
async fn event_service(status: StatusCode) -> (String, Arc<AtomicU32>) {
    let requests = Arc::new(AtomicU32::new(0));
    let count = requests.clone();
    let respond = move || async move {
        count.fetch_add(1, Ordering::SeqCst);
        status
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, Router::new().route("/api/events/{id}", get_route(respond))).await });
    (url, requests)
}

#[tokio::test]
async fn the_page_of_a_missing_event_is_not_found() {
    for (event_status, page_status) in [
        (StatusCode::OK, StatusCode::OK),
        (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND),
        (StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK),
    ] {
        let (url, _) = event_service(event_status).await;

        let reply = send_to(&["frontend", "--event-service-url", &url], Method::GET, "/events/66f", &[]).await;

        assert_eq!(reply.status, page_status, "{event_status}");
        assert!(reply.text().contains("<main id=\"main\""), "{event_status}");
    }
}

#[tokio::test]
async fn an_invalid_event_id_is_not_found_without_a_request() {
    let (url, requests) = event_service(StatusCode::OK).await;

    for path in ["/events/%00", "/events/%FF", "/events/a%2Fb", "/events/..%2Fusers"] {
        let reply = send_to(&["frontend", "--event-service-url", &url], Method::GET, path, &[]).await;
        assert_eq!((reply.status, reply.text().contains("<main")), (StatusCode::NOT_FOUND, true), "{path}");
    }
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn responses_about_events_are_cached_and_failures_back_off() {
    for (event_status, missing) in [(StatusCode::NOT_FOUND, true), (StatusCode::BAD_GATEWAY, false)] {
        let (url, requests) = event_service(event_status).await;
        let events = EventClient::new(Some(&url.parse().unwrap()));

        for _ in 0..3 {
            assert_eq!(events.is_missing("66f").await, missing, "{event_status}");
        }

        assert_eq!(requests.load(Ordering::SeqCst), 1, "{event_status}");
    }
}

#[tokio::test]
async fn a_trailing_slash_redirects_to_the_page() {
    for (path, page) in
        [("/events/66f/", "/events/66f"), ("/me/bookings/?a=b", "/me/bookings?a=b"), ("/admin/", "/admin")]
    {
        let reply = get(path).await;

        assert_eq!((reply.status, reply.header("location")), (StatusCode::PERMANENT_REDIRECT, page));
    }
    assert_eq!(get("//example.org/").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_icon_is_at_favicon_ico_too() {
    let reply = get("/favicon.ico").await;

    assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, "image/svg+xml"));
}

#[tokio::test]
async fn a_page_preloads_its_modules() {
    let reply = get("/").await;

    let modules: Vec<_> = reply.header("link").split(", ").map(|link| link.split_once('>').unwrap()).collect();
    assert!(modules.len() > 5, "{modules:?}");
    for (path, relation) in modules {
        assert_eq!(get(path.trim_start_matches('<')).await.status, StatusCode::OK, "{path}");
        assert_eq!(relation, "; rel=modulepreload");
    }
}

#[tokio::test]
async fn every_response_has_the_security_headers() {
    for path in ["/", "/src/main.js", "/src/missing.js"] {
        let reply = get(path).await;

        let policy = content_security_policy(Provider::Mock);
        assert_eq!(reply.header("content-security-policy"), policy);
        assert!(!policy.contains("unsafe") && !policy.contains("stripe"), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("cross-origin-opener-policy"), "same-origin");
        assert!(reply.headers.contains_key("referrer-policy"));
        assert!(reply.headers.contains_key("permissions-policy"));
        assert!(!reply.headers.contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn only_the_scanner_may_use_the_camera() {
    let scanner = get("/scan").await;
    let others = [get("/").await, get("/me/tickets/7").await, get("/nowhere").await];

    assert_eq!(scanner.status, StatusCode::OK);
    assert!(scanner.header("permissions-policy").starts_with("camera=(self), geolocation=()"));
    for reply in others {
        assert!(reply.header("permissions-policy").starts_with("camera=(), geolocation=()"));
    }
}

#[tokio::test]
async fn with_stripe_the_policy_allows_stripes_form() {
    let reply = send_to(&["frontend", "--payment-provider", "stripe"], Method::GET, "/", &[]).await;

    let policy = reply.header("content-security-policy");
    for part in [
        "script-src 'self' https://js.stripe.com;",
        "connect-src 'self' https://api.stripe.com;",
        "frame-src https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com;",
        "default-src 'none';",
        "style-src 'self';",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{part} is not in {policy}");
    }
    assert!(!policy.contains("unsafe"));
}

/// The limit of what a page loads in one language, before compression, without pictures and without the decoder of the
/// scanner, which is imported when it runs.
const PAGE_BYTES: usize = 120_000;

/// Adds the module at `path` and every module that it imports, directly or not.
fn add_modules(path: &str, modules: &mut BTreeSet<String>) {
    if !modules.insert(path.to_owned()) {
        return;
    }
    let module = std::str::from_utf8(Asset::find(path).unwrap_or_else(|| panic!("no {path}")).raw).unwrap();
    let folder = path.rsplit_once('/').unwrap().0;
    for (start, _) in module.match_indices("from\"").chain(module.match_indices("import\"")) {
        let name = module[start..].split('"').nth(1).unwrap();
        let imported = match name.strip_prefix("../") {
            Some(above) => format!("{}/{above}", folder.rsplit_once('/').unwrap().0),
            None => format!("{folder}/{}", name.trim_start_matches("./")),
        };
        add_modules(&imported, modules);
    }
}

#[test]
fn no_page_in_any_language_is_above_120_kb() {
    let size = |path: &str| Asset::find(path).unwrap().raw.len();
    let paths =
        |folder: &'static str| ASSETS.iter().map(|asset| asset.path).filter(move |path| path.starts_with(folder));
    let frame = size("/index.html") + size("/style.css");
    for page in paths("/src/pages/") {
        let mut modules = BTreeSet::new();
        add_modules("/src/main.js", &mut modules);
        add_modules(page, &mut modules);
        for language in paths("/src/texts/") {
            let bytes = frame + size(language) + modules.iter().map(|path| size(path)).sum::<usize>();
            assert!((50_000..PAGE_BYTES).contains(&bytes), "{page} in {language}: {bytes} bytes");
        }
    }
}

#[tokio::test]
async fn a_catalogue_of_texts_lacks_those_of_services() {
    let reply = get("/src/texts/de.json").await;

    let texts: serde_json::Value = serde_json::from_str(reply.text()).unwrap();
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(texts["nav"]["login"], "Anmelden");
    assert_eq!(texts.get("server"), None);
}

#[tokio::test]
async fn libraries_are_served_with_their_licence() {
    let decoder = get("/vendor/qr/decode.js").await;
    let licence = get("/vendor/qr/LICENSE.txt").await;

    assert_eq!(decoder.header("content-type"), "text/javascript; charset=utf-8");
    assert!(decoder.text().contains("BarcodeDetector"));
    assert_eq!(licence.header("content-type"), "text/plain; charset=utf-8");
    assert!(licence.text().starts_with("The MIT License"), "{}", licence.text());
}

#[tokio::test]
async fn a_missing_file_is_an_error() {
    let reply = send(Method::GET, "/src/pages/missing.js", &[("accept", "text/html")]).await;

    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert!(reply.text().contains("route_not_found"));
}

#[tokio::test]
async fn for_an_unknown_path_browsers_get_the_site_and_programs_an_error() {
    let browser = send(Method::GET, "/concerts/7", &[("accept", "text/html,*/*;q=0.8")]).await;
    let program = get("/concerts/7").await;

    assert_eq!((browser.status, browser.header("content-type")), (StatusCode::NOT_FOUND, "text/html; charset=utf-8"));
    assert_eq!((program.status, program.header("content-type")), (StatusCode::NOT_FOUND, "application/problem+json"));
}

#[tokio::test]
async fn files_outside_the_site_are_not_served() {
    for path in [
        "/server/Cargo.toml",
        "/types.d.ts",
        "/vendor/qr/decode.d.ts",
        "/tsconfig.json",
        "/src/../server/build.rs",
        "/src",
    ] {
        assert_eq!(get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn only_get_and_head_are_allowed() {
    for (method, path) in [(Method::POST, "/"), (Method::PUT, "/style.css"), (Method::DELETE, "/nothing")] {
        let reply = send(method, path, &[]).await;

        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(reply.header("allow"), "GET,HEAD");
        assert!(reply.text().contains("method_not_allowed"));
    }
    let head = send(Method::HEAD, "/style.css", &[]).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn an_unchanged_file_is_not_sent_again() {
    let first = get("/src/main.js").await;
    let etag = first.header("etag").to_owned();

    let weak = format!("\"other\", W/{etag}");
    let again = send(Method::GET, "/src/main.js", &[("if-none-match", &weak)]).await;
    let compressed = send(Method::GET, "/src/main.js", &[("if-none-match", &etag), ("accept-encoding", "br")]).await;

    assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!((again.header("etag"), again.header("cache-control")), (etag.as_str(), "no-cache"));
    assert_eq!(compressed.status, StatusCode::OK, "another encoding is another entity");
}

#[tokio::test]
async fn the_smallest_accepted_encoding_is_sent() {
    let plain = get("/style.css").await;
    let gzip = send(Method::GET, "/style.css", &[("accept-encoding", "gzip, deflate, br;q=0")]).await;
    let brotli = send(Method::GET, "/style.css", &[("accept-encoding", "gzip, deflate, br, zstd")]).await;

    assert_eq!((gzip.header("content-encoding"), brotli.header("content-encoding")), ("gzip", "br"));
    assert_eq!(plain.header("vary"), "Accept-Encoding");
    assert!(brotli.body.len() < gzip.body.len() && gzip.body.len() < plain.body.len());
    let mut unpacked = Vec::new();
    GzDecoder::new(gzip.body.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
}

#[tokio::test]
async fn the_index_links_only_to_files_that_exist() {
    let index = get("/").await;
    let names = index.text().split('"').filter(|part| part.starts_with("/src/") || part.starts_with("/style"));

    for name in names {
        assert_eq!(get(name).await.status, StatusCode::OK, "{name}");
    }
    assert!(!index.text().contains("style="), "the policy would refuse it");
    assert!(ASSETS.iter().all(|asset| !asset.brotli.is_empty()));
}
