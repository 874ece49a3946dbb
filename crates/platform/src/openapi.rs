//! The OpenAPI 3.1 description of a service, made from its handlers and types.

use aide::{
    axum::ApiRouter,
    openapi::{Info, OpenApi, SecurityScheme},
};
use axum::{Router, body::Bytes, http::header::CONTENT_TYPE, routing::get};

/// Turns a service's URL table into its router, and serves the table's description at `path`.
pub fn finish<S: Clone + Send + Sync + 'static>(table: ApiRouter<S>, title: &str, path: &str) -> Router<S> {
    aide::generate::extract_schemas(true);
    let mut api = OpenApi {
        info: Info { title: title.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), ..Info::default() },
        ..OpenApi::default()
    };
    let bearer = SecurityScheme::Http {
        scheme: "bearer".to_owned(),
        bearer_format: Some("JWT".to_owned()),
        description: Some("An access token of user-service; browsers send it as a cookie instead.".to_owned()),
        extensions: Default::default(),
    };
    let router = table.finish_api_with(&mut api, |api| api.security_scheme("bearer", bearer));
    let description: Bytes = serde_json::to_vec(&api).expect("a description is plain data").into();
    router.route(path, get(move || async move { ([(CONTENT_TYPE, "application/json")], description) }))
}
