//! API keys, errors in Stripe's shape, validation of parameters, and an unavailable database.

use axum::http::StatusCode;
use mock_gateway::app::App;
use platform::Clock;
use reqwest::{Method, header};
use tokio::net::TcpListener;

use crate::helpers::{API_KEY, Client, Gateway};

#[tokio::test]
async fn requests_without_the_api_key_are_unauthorized() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let paths = ["/v1/payment_intents", "/v1/refunds/re_1", "/control/faults", "/control/ledger"];
    for path in paths {
        let bare = client.bare_request(Method::GET, path);
        let wrong = client.bare_request(Method::GET, path).bearer_auth(format!("{API_KEY}x"));
        let basic = client.bare_request(Method::GET, path).header(header::AUTHORIZATION, format!("Basic {API_KEY}"));
        for request in [bare, wrong, basic] {
            let refused = client.send(request).await.expect(StatusCode::UNAUTHORIZED);

            assert_eq!(refused.error().0, "invalid_request_error", "{path}");
            assert!(refused.headers.contains_key(header::WWW_AUTHENTICATE));
            assert!(!refused.json.to_string().contains(API_KEY));
        }
    }
}

#[tokio::test]
async fn the_api_key_is_checked_before_the_body() {
    let gateway = Gateway::start().await;
    let request = gateway.client().bare_request(Method::POST, "/v1/payment_intents").form(&[("amount", "x")]);

    gateway.client().send(request).await.expect(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_response_has_a_request_id() {
    let gateway = Gateway::start().await;

    let listed = gateway.client().get("/v1/payment_intents").await.expect(StatusCode::OK);
    let refused = gateway.client().get("/v1/nothing").await;

    for reply in [listed, refused] {
        assert!(reply.headers["request-id"].to_str().unwrap().starts_with("req_"));
    }
}

#[tokio::test]
async fn unknown_urls_and_methods_get_errors_in_stripes_shape() {
    let gateway = Gateway::start().await;
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/v1/customers"),
        (Method::DELETE, "/v1/payment_intents"),
        (Method::PUT, "/v1/refunds/re_1"),
    ] {
        let refused = gateway.client().send(gateway.client().request(method, path)).await;

        assert_eq!(refused.expect(StatusCode::NOT_FOUND).error(), ("invalid_request_error", ""));
    }
}

#[tokio::test]
async fn unknown_and_invalid_ids_are_not_found() {
    let gateway = Gateway::start().await;
    for path in ["/v1/payment_intents/pi_nothing", "/v1/payment_intents/%00", "/v1/refunds/%ff", "/v1/refunds/%20"] {
        let refused = gateway.client().get(path).await.expect(StatusCode::NOT_FOUND);

        assert_eq!(refused.error(), ("invalid_request_error", "resource_missing"), "{path}");
    }
    let refused = gateway.client().confirm("pi_nothing", "pm_card_visa").await.expect(StatusCode::NOT_FOUND);
    assert_eq!(refused.error().1, "resource_missing");
}

#[tokio::test]
async fn invalid_parameters_are_refused() {
    let gateway = Gateway::start().await;
    let valid = [("amount", "100"), ("currency", "eur")];
    for (parameters, code, param) in [
        (vec![valid[1]], "parameter_missing", "amount"),
        (vec![valid[0]], "parameter_missing", "currency"),
        (vec![("amount", "-5"), valid[1]], "parameter_invalid_integer", "amount"),
        (vec![("amount", "0"), valid[1]], "parameter_invalid_integer", "amount"),
        (vec![("amount", "1.5"), valid[1]], "parameter_invalid_integer", "amount"),
        (vec![("amount", "100000000"), valid[1]], "parameter_invalid_integer", "amount"),
        (vec![valid[0], ("currency", "euro")], "", "currency"),
        (vec![valid[0], valid[1], ("colour", "red")], "parameter_unknown", "colour"),
        (vec![valid[0], valid[0], valid[1]], "parameter_unknown", "amount"),
        (vec![valid[0], valid[1], ("description", "")], "parameter_invalid_empty", "description"),
        (vec![valid[0], valid[1], ("description", "a\0b")], "", "description"),
        (vec![valid[0], valid[1], ("capture_method", "manual")], "", "capture_method"),
        (vec![valid[0], valid[1], ("metadata[a]", "\0")], "", "metadata"),
        (vec![valid[0], valid[1], ("payment_method", "pm_x")], "resource_missing", "payment_method"),
    ] {
        let refused = gateway.client().post("/v1/payment_intents", &parameters).await;

        let refused = refused.expect(StatusCode::BAD_REQUEST);
        assert_eq!(refused.error(), ("invalid_request_error", code), "{parameters:?}");
        assert_eq!(refused.json["error"]["param"], param);
    }
    let unconfirmable = [valid[0], valid[1], ("confirm", "true")];
    let refused = gateway.client().post("/v1/payment_intents", &unconfirmable).await.expect(StatusCode::BAD_REQUEST);
    assert_eq!(refused.error().1, "payment_intent_unexpected_state");
}

#[tokio::test]
async fn bodies_that_are_too_large_or_not_forms_are_refused() {
    let gateway = Gateway::start().await;
    let client = gateway.client();
    let large = "a".repeat(70 * 1024);

    let json = client.json(Method::POST, "/v1/payment_intents", &serde_json::json!({"amount": 100})).await;
    let key = "k".repeat(256);
    let long_key = client.post_with_key(&key, "/v1/payment_intents", &[("amount", "1"), ("currency", "eur")]).await;
    // Last, because the server closes a connection whose body it does not read to the end.
    let large = client.post("/v1/payment_intents", &[("description", large.as_str())]).await;

    assert_eq!(json.expect(StatusCode::BAD_REQUEST).error().0, "invalid_request_error");
    assert_eq!(large.expect(StatusCode::PAYLOAD_TOO_LARGE).error().0, "invalid_request_error");
    assert_eq!(long_key.expect(StatusCode::BAD_REQUEST).error().0, "idempotency_error");
}

#[tokio::test]
async fn an_unavailable_database_is_a_503_in_stripes_shape() {
    let gateway = Gateway::start().await;
    // Nothing listens on this port.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let app = App::build(&gateway.config(&format!("postgres://mock:x@{closed}/mock")), Clock::system()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()));
    tokio::spawn(async move { axum::serve(listener, app.router()).await });

    let refused = client.post("/v1/payment_intents", &[("amount", "1"), ("currency", "eur")]).await;

    assert_eq!(refused.expect(StatusCode::SERVICE_UNAVAILABLE).error(), ("api_error", ""));
}
