//! A small reverse proxy: one origin in front of the services, as the ingress is in a cluster, and an even spread over
//! the replicas of one service, as a Kubernetes Service does.
//!
//! Requests are read whole, so that a replica that does not accept can be passed over; answers are streamed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::{Body, Bytes};
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, request};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::net::TcpListener;

use crate::programs::Program;

/// Longest request that is passed on; the services take 64 KiB.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// Headers that concern one connection alone (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The replicas that share the requests below a path.
#[derive(Clone, Debug)]
pub struct Route {
    prefix: &'static str,
    replicas: Vec<SocketAddr>,
}

impl Route {
    /// Sends the path `prefix`, and what lies below it, to these replicas in turn.
    pub fn new(prefix: &'static str, replicas: Vec<SocketAddr>) -> Self {
        Self { prefix, replicas }
    }

    fn matches(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.prefix.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The routes of the platform's one origin; `replicas` tells where a program listens.
pub fn origin_routes(replicas: impl Fn(Program) -> Vec<SocketAddr>) -> Vec<Route> {
    [
        ("/users", Program::User),
        ("/.well-known", Program::User),
        ("/api/events", Program::Event),
        ("/bookings", Program::Booking),
        ("/payments", Program::Booking),
        ("/tickets", Program::Booking),
        ("/notifications", Program::Notification),
        ("/", Program::Frontend),
    ]
    .map(|(prefix, program)| Route::new(prefix, replicas(program)))
    .into()
}

/// Serves requests from the listener until the future is dropped. The first route that matches a path takes it.
pub async fn serve(listener: std::net::TcpListener, routes: Vec<Route>) -> Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let proxy = Arc::new(Proxy { routes, turn: AtomicUsize::new(0), client: client() });
    let service = Router::new().fallback(forward).with_state(proxy);
    let service = service.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await.context("the reverse proxy ended")
}

struct Proxy {
    routes: Vec<Route>,
    turn: AtomicUsize,
    client: Client<HttpConnector, Full<Bytes>>,
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(2)));
    // A connection for each request: a service that refuses a body unread closes the connection, and a request that
    // met it on its way out could not be told from one that was served.
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
}

async fn forward(
    State(proxy): State<Arc<Proxy>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let Some(route) = proxy.routes.iter().find(|route| route.matches(request.uri().path())) else {
        return problem(StatusCode::NOT_FOUND, "no program serves this path");
    };
    let (mut parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_REQUEST_BYTES).collect().await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "the request is over 1 MiB, or ended early");
    };
    rewrite_request_headers(&mut parts.headers, client);
    proxy.pass_on(route, &parts, body.to_bytes()).await
}

impl Proxy {
    /// Asks the replicas in turn until one accepts the connection.
    async fn pass_on(&self, route: &Route, parts: &request::Parts, body: Bytes) -> Response {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut reason = "it has no replicas".to_owned();
        for offset in 0..route.replicas.len() {
            let replica = route.replicas[(first + offset) % route.replicas.len()];
            match self.client.request(request_to(replica, parts, body.clone())).await {
                Ok(answer) => {
                    let (mut parts, body) = answer.into_parts();
                    remove_hop_by_hop(&mut parts.headers);
                    return Response::from_parts(parts, Body::new(body));
                }
                Err(error) => {
                    reason = format!("{replica}: {error}");
                    if !error.is_connect() {
                        break;
                    }
                }
            }
        }
        problem(StatusCode::BAD_GATEWAY, &format!("{} does not answer: {reason}", route.prefix))
    }
}

fn request_to(replica: SocketAddr, parts: &request::Parts, body: Bytes) -> axum::http::Request<Full<Bytes>> {
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme("http").authority(replica.to_string()).path_and_query(path);
    let mut request = axum::http::Request::new(Full::new(body));
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri.build().expect("an address and a path make a URL");
    *request.headers_mut() = parts.headers.clone();
    request
}

/// Keeps Host, and says who asked: this is the outermost proxy, so what the client claims about that is dropped.
fn rewrite_request_headers(headers: &mut HeaderMap, client: SocketAddr) {
    remove_hop_by_hop(headers);
    let address = client.ip().to_canonical().to_string();
    headers.insert("x-forwarded-for", HeaderValue::from_str(&address).expect("addresses are plain ASCII"));
    headers.insert("x-forwarded-proto", HeaderValue::from_static("http"));
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.insert("x-forwarded-host", host);
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let body = json!({ "type": "about:blank", "title": status.canonical_reason(), "status": status.as_u16(),
        "code": "proxy", "detail": detail });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use futures::{StreamExt, stream};
    use reqwest::Client;

    use super::*;
    use crate::api::http_client;
    use crate::fleet::loopback;
    use crate::ports;

    async fn answers_with(router: Router) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn proxy_to(routes: Vec<Route>) -> (Client, String) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, routes));
        (http_client(), origin)
    }

    #[test]
    fn a_prefix_matches_whole_segments() {
        let users = Route::new("/users", vec![]);

        assert!(["/users", "/users/", "/users/login"].iter().all(|path| users.matches(path)));
        assert!(!users.matches("/users-and-more"));
        assert!(["/", "/anything"].iter().all(|path| Route::new("/", vec![]).matches(path)));
    }

    #[tokio::test]
    async fn the_service_sees_the_host_and_the_client_and_no_claims() {
        let tell = |headers: HeaderMap| async move {
            let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
            [header("host"), header("x-forwarded-for"), header("x-forwarded-host")].join(" ")
        };
        let service = answers_with(Router::new().route("/", get(tell))).await;
        let (http, origin) = proxy_to(vec![Route::new("/", vec![service])]);

        let request = http.get(&origin).header("x-forwarded-for", "1.2.3.4").header("host", "localhost:8090");
        let told = request.send().await.unwrap().text().await.unwrap();

        assert_eq!(told, "localhost:8090 127.0.0.1 localhost:8090");
    }

    #[tokio::test]
    async fn answers_are_streamed_as_they_come() {
        let first_then_never = || async {
            let first = stream::once(async { Ok::<_, std::io::Error>("data: first\n\n") });
            Body::from_stream(first.chain(stream::pending()))
        };
        let service = answers_with(Router::new().route("/", get(first_then_never))).await;
        let (http, origin) = proxy_to(vec![Route::new("/", vec![service])]);

        let mut chunks = http.get(&origin).send().await.unwrap().bytes_stream();

        let first = tokio::time::timeout(Duration::from_secs(5), chunks.next()).await.expect("it was held back");
        assert_eq!(first.unwrap().unwrap(), "data: first\n\n");
    }

    #[tokio::test]
    async fn a_replica_that_is_down_is_passed_over() {
        let service = answers_with(Router::new().route("/", get(|| async { "up" }))).await;
        let down = loopback(ports::free().unwrap());
        let (http, origin) = proxy_to(vec![Route::new("/", vec![down, service])]);

        for _ in 0..4 {
            assert_eq!(http.get(&origin).send().await.unwrap().text().await.unwrap(), "up");
        }
    }

    #[tokio::test]
    async fn a_program_that_is_down_is_a_502_problem() {
        let (http, origin) = proxy_to(vec![Route::new("/", vec![loopback(ports::free().unwrap())])]);

        let answer = http.get(&origin).send().await.unwrap();

        assert_eq!(answer.status(), 502);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}
