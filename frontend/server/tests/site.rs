//! The site as a browser gets it: pages, files, caching, headers and refusals.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

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
use flate2::read::GzDecoder;
use frontend_server::{
    Arguments, PaymentProvider,
    assets::{ASSETS, Asset},
    events::Events,
    headers::content_security_policy,
    routes,
};
use http_body_util::BodyExt;
use platform::server::with_defaults;
use tokio::net::TcpListener;
use tower::ServiceExt;

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

async fn ask(method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask_with(&["frontend"], method, path, headers).await
}

/// Asks a site with other settings, as on the command line.
async fn ask_with(settings: &[&str], method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    use clap::Parser;
    let arguments = Arguments::try_parse_from(settings).unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let events = Events::new(arguments.event_service_url.as_ref());
    let router = with_defaults(routes::router(arguments.payment_provider, events), &arguments.service);
    let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes().to_vec() }
}

async fn get(path: &str) -> Answer {
    ask(Method::GET, path, &[]).await
}

#[tokio::test]
async fn every_page_is_the_index() {
    for page in ["/", "/events/66f", "/login", "/me/bookings/7", "/organizer/events/new", "/organizer/events/66f"] {
        let answer = get(page).await;

        assert_eq!(answer.status, StatusCode::OK, "{page}");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "no-cache");
        assert!(answer.text().contains("<main id=\"main\""));
    }
}

/// event-service, as far as the site asks it; counts the questions.
async fn event_service(status: StatusCode) -> (String, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let answer = move || async move {
        count.fetch_add(1, Ordering::SeqCst);
        status
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, Router::new().route("/api/events/{id}", get_route(answer))).await });
    (url, asked)
}

#[tokio::test]
async fn the_page_of_an_event_that_is_not_there_is_not_found() {
    for (told, shown) in [
        (StatusCode::OK, StatusCode::OK),
        (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND),
        (StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK),
    ] {
        let (url, _) = event_service(told).await;

        let answer = ask_with(&["frontend", "--event-service-url", &url], Method::GET, "/events/66f", &[]).await;

        assert_eq!(answer.status, shown, "{told}");
        assert!(answer.text().contains("<main id=\"main\""), "{told}");
    }
}

#[tokio::test]
async fn what_cannot_be_an_event_is_not_found_without_asking() {
    let (url, asked) = event_service(StatusCode::OK).await;

    for path in ["/events/%00", "/events/%FF", "/events/a%2Fb", "/events/..%2Fusers"] {
        let answer = ask_with(&["frontend", "--event-service-url", &url], Method::GET, path, &[]).await;
        assert_eq!((answer.status, answer.text().contains("<main")), (StatusCode::NOT_FOUND, true), "{path}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn answers_about_events_are_kept_and_a_silent_service_is_left_alone() {
    for (told, missing) in [(StatusCode::NOT_FOUND, true), (StatusCode::BAD_GATEWAY, false)] {
        let (url, asked) = event_service(told).await;
        let events = Events::new(Some(&url.parse().unwrap()));

        for _ in 0..3 {
            assert_eq!(events.is_missing("66f").await, missing, "{told}");
        }

        assert_eq!(asked.load(Ordering::SeqCst), 1, "{told}");
    }
}

#[tokio::test]
async fn a_slash_at_the_end_leads_to_the_page() {
    for (path, page) in
        [("/events/66f/", "/events/66f"), ("/me/bookings/?a=b", "/me/bookings?a=b"), ("/admin/", "/admin")]
    {
        let answer = get(path).await;

        assert_eq!((answer.status, answer.header("location")), (StatusCode::PERMANENT_REDIRECT, page));
    }
    assert_eq!(get("//example.org/").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_icon_is_where_browsers_look_for_it() {
    let answer = get("/favicon.ico").await;

    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "image/svg+xml"));
}

#[tokio::test]
async fn a_page_names_the_modules_that_it_will_need() {
    let answer = get("/").await;

    let modules: Vec<_> = answer.header("link").split(", ").map(|link| link.split_once('>').unwrap()).collect();
    assert!(modules.len() > 5, "{modules:?}");
    for (path, relation) in modules {
        assert_eq!(get(path.trim_start_matches('<')).await.status, StatusCode::OK, "{path}");
        assert_eq!(relation, "; rel=modulepreload");
    }
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    for path in ["/", "/src/main.js", "/src/missing.js"] {
        let answer = get(path).await;

        let policy = content_security_policy(PaymentProvider::Mock);
        assert_eq!(answer.header("content-security-policy"), policy);
        assert!(!policy.contains("unsafe") && !policy.contains("stripe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
        assert!(answer.headers.contains_key("referrer-policy"));
        assert!(answer.headers.contains_key("permissions-policy"));
        assert!(!answer.headers.contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn stripes_form_may_load_where_stripe_takes_the_payments_and_nothing_else_changes() {
    let answer = ask_with(&["frontend", "--payment-provider", "stripe"], Method::GET, "/", &[]).await;

    let policy = answer.header("content-security-policy");
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

/// The limit of all that a page loads in one language, pictures aside, before compression.
const PAGE_BYTES: usize = 100_000;

/// The module at `path` and every module that it imports, directly or not.
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
fn no_page_in_any_language_is_above_100_kb() {
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
async fn a_catalogue_of_texts_is_json_without_what_only_services_say() {
    let answer = get("/src/texts/de.json").await;

    let texts: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(texts["nav"]["login"], "Anmelden");
    assert_eq!(texts.get("server"), None);
}

#[tokio::test]
async fn a_missing_file_is_a_problem() {
    let answer = ask(Method::GET, "/src/pages/missing.js", &[("accept", "text/html")]).await;

    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert!(answer.text().contains("route_not_found"));
}

#[tokio::test]
async fn a_dead_link_shows_a_person_the_site_and_a_program_a_problem() {
    let person = ask(Method::GET, "/concerts/7", &[("accept", "text/html,*/*;q=0.8")]).await;
    let program = get("/concerts/7").await;

    assert_eq!((person.status, person.header("content-type")), (StatusCode::NOT_FOUND, "text/html; charset=utf-8"));
    assert_eq!((program.status, program.header("content-type")), (StatusCode::NOT_FOUND, "application/problem+json"));
}

#[tokio::test]
async fn what_is_not_the_site_is_not_served() {
    for path in ["/server/Cargo.toml", "/types.d.ts", "/tsconfig.json", "/src/../server/build.rs", "/src"] {
        assert_eq!(get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn only_reading_is_allowed() {
    for (method, path) in [(Method::POST, "/"), (Method::PUT, "/style.css"), (Method::DELETE, "/nothing")] {
        let answer = ask(method, path, &[]).await;

        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.header("allow"), "GET,HEAD");
        assert!(answer.text().contains("method_not_allowed"));
    }
    let head = ask(Method::HEAD, "/style.css", &[]).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn a_file_that_did_not_change_is_not_sent_again() {
    let first = get("/src/main.js").await;
    let etag = first.header("etag").to_owned();

    let weak = format!("\"other\", W/{etag}");
    let again = ask(Method::GET, "/src/main.js", &[("if-none-match", &weak)]).await;
    let compressed = ask(Method::GET, "/src/main.js", &[("if-none-match", &etag), ("accept-encoding", "br")]).await;

    assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!((again.header("etag"), again.header("cache-control")), (etag.as_str(), "no-cache"));
    assert_eq!(compressed.status, StatusCode::OK, "another encoding is another entity");
}

#[tokio::test]
async fn the_smallest_form_the_browser_takes_is_sent() {
    let plain = get("/style.css").await;
    let gzip = ask(Method::GET, "/style.css", &[("accept-encoding", "gzip, deflate, br;q=0")]).await;
    let brotli = ask(Method::GET, "/style.css", &[("accept-encoding", "gzip, deflate, br, zstd")]).await;

    assert_eq!((gzip.header("content-encoding"), brotli.header("content-encoding")), ("gzip", "br"));
    assert_eq!(plain.header("vary"), "Accept-Encoding");
    assert!(brotli.body.len() < gzip.body.len() && gzip.body.len() < plain.body.len());
    let mut unpacked = Vec::new();
    GzDecoder::new(gzip.body.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
}

#[tokio::test]
async fn the_index_names_only_files_that_exist() {
    let index = get("/").await;
    let names = index.text().split('"').filter(|part| part.starts_with("/src/") || part.starts_with("/style"));

    for name in names {
        assert_eq!(get(name).await.status, StatusCode::OK, "{name}");
    }
    assert!(!index.text().contains("style="), "the policy would refuse it");
    assert!(ASSETS.iter().all(|asset| !asset.brotli.is_empty()));
}
