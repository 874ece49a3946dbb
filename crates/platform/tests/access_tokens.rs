//! Access tokens: which identity the extractors return for which token.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    routing::get,
};
use contracts::identity::{
    ACCESS_TOKEN_AUDIENCE, ACCESS_TOKEN_ISSUER, ACCESS_TOKEN_TYPE, AccessClaims, RevocationList, Role,
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use platform::{
    Clock,
    auth::{AccessKeys, AuthUser, Cookies, ServiceKeys, Verifier},
};
use tower::ServiceExt;

/// Made for this test.
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINvxy/x25UWwyDKD0e145qEgapfsmQ+vGNe5YiYtri4P
-----END PRIVATE KEY-----
";
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAq4dHp56Epfyj/cMpLur528g6Ruv0cgimvEFWY3ff3yE=
-----END PUBLIC KEY-----
";

fn verifier() -> Verifier {
    let key = DecodingKey::from_ed_pem(PUBLIC_KEY.as_bytes()).unwrap();
    let cookies = Cookies::new(&"https://tickets.example".parse().unwrap());
    let keys = AccessKeys::fixed([("k".to_owned(), key)].into());
    Verifier::new(keys, ServiceKeys::none("event-service"), cookies, Clock::system())
}

fn token(session_id: &str, role: Role, lifetime: i64) -> String {
    let now = Clock::system().now().timestamp();
    let claims = AccessClaims {
        iss: ACCESS_TOKEN_ISSUER.to_owned(),
        aud: ACCESS_TOKEN_AUDIENCE.to_owned(),
        sub: "7".to_owned(),
        iat: now + lifetime - 600,
        exp: now + lifetime,
        sid: session_id.to_owned(),
        role,
        email: "ada@example.org".to_owned(),
        name: "Ada".to_owned(),
        language: None,
    };
    let header =
        Header { typ: Some(ACCESS_TOKEN_TYPE.to_owned()), kid: Some("k".to_owned()), ..Header::new(Algorithm::EdDSA) };
    encode(&header, &claims, &EncodingKey::from_ed_pem(PRIVATE_KEY.as_bytes()).unwrap()).unwrap()
}

async fn asked(verifier: Verifier, request: Request<Body>) -> StatusCode {
    let router =
        Router::new().route("/", get(async |_: AuthUser| StatusCode::OK).post(async |_: AuthUser| StatusCode::OK));
    router.with_state(verifier).oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn a_token_of_an_ended_session_is_refused_before_it_expires() {
    let verifier = verifier();
    let (ended, other) = (token("a", Role::Attendee, 600), token("b", Role::Attendee, 600));
    assert!(verifier.verify_access(&ended).await.is_ok());

    verifier.revocations().replace(RevocationList { sessions: vec!["a".to_owned()], ..RevocationList::default() });

    let refused = verifier.verify_access(&ended).await.unwrap_err();
    assert_eq!((refused.status(), refused.code()), (StatusCode::UNAUTHORIZED, "session_over"));
    assert!(verifier.verify_access(&other).await.is_ok());
}

#[tokio::test]
async fn a_token_gives_no_role_that_was_taken_away() {
    let verifier = verifier();
    let token = token("a", Role::Admin, 600);
    assert_eq!(verifier.verify_access(&token).await.unwrap().role, Role::Admin);

    verifier.revocations().replace(RevocationList { roles: [(7, Role::Attendee)].into(), ..RevocationList::default() });

    assert_eq!(verifier.verify_access(&token).await.unwrap().role, Role::Attendee);
}

#[tokio::test]
async fn of_duplicate_cookies_any_valid_one_counts() {
    let (valid, expired) = (token("a", Role::Attendee, 600), token("a", Role::Attendee, -600));
    let get = |cookies: String| Request::get("/").header("cookie", cookies).body(Body::empty()).unwrap();
    let name = "__Host-evp443_access";

    for cookies in [
        format!("{name}=junk; {name}={valid}"),
        format!("{name}={expired}; {name}={valid}"),
        format!("{name}={expired}; __Secure-evp443_access={valid}"),
    ] {
        assert_eq!(asked(verifier(), get(cookies.clone())).await, StatusCode::OK, "{cookies}");
    }
    let none = get(format!("{name}=junk; {name}={expired}"));
    assert_eq!(asked(verifier(), none).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_unsafe_request_with_a_cookie_needs_the_platforms_origin_and_scheme() {
    let cookie = format!("__Host-evp443_access={}", token("a", Role::Attendee, 600));
    let post = |origin: &str, host: &str| {
        let request = Request::post("/").header("cookie", &cookie).header("origin", origin).header("host", host);
        asked(verifier(), request.body(Body::empty()).unwrap())
    };

    assert_eq!(post("https://tickets.example", "tickets.example").await, StatusCode::OK);
    assert_eq!(post("https://tickets.example", "event-service:8080").await, StatusCode::OK);
    assert_eq!(post("http://tickets.example", "tickets.example").await, StatusCode::FORBIDDEN);
    assert_eq!(post("https://evil.example", "tickets.example").await, StatusCode::FORBIDDEN);
}
