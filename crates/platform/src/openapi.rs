//! The OpenAPI 3.1 description of a service, made from its handlers and types.

use aide::{
    axum::ApiRouter,
    openapi::{Info, OpenApi, SecurityScheme},
};
use axum::{Router, body::Bytes, http::header::CONTENT_TYPE, routing::get};

/// Turns a service's URL table into its router, and serves the table's description at `path`.
///
/// The schemas were collected while the route table was built. Other settings now would lose those that it refers to.
pub fn finish<S: Clone + Send + Sync + 'static>(table: ApiRouter<S>, title: &str, path: &str) -> Router<S> {
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

#[cfg(test)]
mod tests {
    use aide::axum::routing::post;
    use axum::{Json, body::Body, extract::Request};
    use http_body_util::BodyExt;
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;
    use crate::{ApiResult, extract::JsonBody, page::Page};

    #[derive(Deserialize, JsonSchema, Serialize)]
    struct Thing {
        part: Part,
    }

    #[derive(Deserialize, JsonSchema, Serialize)]
    struct Part {
        kind: Option<Kind>,
    }

    #[derive(Deserialize, JsonSchema, Serialize)]
    enum Kind {
        Plain,
    }

    async fn make(body: JsonBody<Thing>) -> ApiResult<Json<Page<Thing>>> {
        Ok(Json(Page { items: vec![body.parse()?], next_cursor: None }))
    }

    async fn description() -> Value {
        let router: Router = finish(ApiRouter::new().api_route("/things", post(make)), "things", "/openapi.json");
        let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
        let body = router.oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| match value {
                Value::String(target) if name == "$ref" => found.push(target),
                value => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[tokio::test]
    async fn every_reference_leads_to_a_schema_in_every_description_of_a_thread() {
        for description in [description().await, description().await] {
            let mut found = Vec::new();
            references(&description, &mut found);

            assert!(found.len() > 3, "{description}");
            for target in found {
                let pointer = target.strip_prefix('#').unwrap();
                assert!(description.pointer(pointer).is_some(), "{target} leads nowhere: {description}");
            }
        }
    }

    #[tokio::test]
    async fn every_answer_is_described_and_refusals_as_problems() {
        let description = description().await;

        let answers = &description["paths"]["/things"]["post"]["responses"];
        assert!(answers["200"]["content"]["application/json"]["schema"].is_object(), "{answers}");
        assert!(answers["default"]["content"]["application/problem+json"]["schema"].is_object(), "{answers}");
    }
}
