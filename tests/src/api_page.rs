//! docs/api.md: every route of the services, made from their OpenAPI descriptions.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::api::Api;

/// The page in the documentation, below the checkout.
pub const PATH: &str = "docs/api.md";
/// Where the services describe themselves, in the order of the page.
const DESCRIPTIONS: [&str; 4] =
    ["/users/openapi.json", "/api/events/openapi.json", "/bookings/openapi.json", "/notifications/openapi.json"];
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
const INTRODUCTION: &str = "# The API

Made from the services' own descriptions by `make generate`; a test compares it with the running platform.

A name in italics may be left out. Routes for a token take `Authorization: Bearer <access token>`, or the cookie of a
browser. A refusal is a problem document (RFC 9457) with a stable `code`. Lists answer `items` and `next_cursor`, which
the next request gives as `cursor`.
";

/// The page for the platform at an origin.
pub async fn page(api: &Api) -> Result<String> {
    let mut page = INTRODUCTION.to_owned();
    for path in DESCRIPTIONS {
        let description = api.get(path).await?.body;
        describe(&description, path, &mut page).with_context(|| format!("{path} is no description"))?;
    }
    Ok(page)
}

fn describe(description: &Value, path: &str, page: &mut String) -> Option<()> {
    write!(page, "\n## {}\n\n", description["info"]["title"].as_str()?).ok()?;
    write!(page, "Full description: `{path}`\n\n").ok()?;
    page.push_str("| request | | for | parameters | body | answer |\n|---|---|---|---|---|---|\n");
    for (path, operations) in description["paths"].as_object()? {
        for method in METHODS {
            let Some(operation) = operations.get(method) else { continue };
            let summary = operation["summary"].as_str().unwrap_or_default();
            let access = if operation["security"].is_array() { "a token" } else { "everybody" };
            let (parameters, body) = (parameters(operation), body(description, operation));
            let answers = answers(operation)?;
            let method = method.to_uppercase();
            writeln!(page, "| `{method} {path}` | {summary} | {access} | {parameters} | {body} | {answers} |").ok()?;
        }
    }
    Some(())
}

/// The parameters besides those in the path.
fn parameters(operation: &Value) -> String {
    let all = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let outside = all.iter().filter(|parameter| parameter["in"] != "path");
    listed(outside.map(|parameter| (parameter["name"].as_str().unwrap_or_default(), parameter["required"] == true)))
}

/// The members of the JSON body, or its media type.
fn body(description: &Value, operation: &Value) -> String {
    let Some(content) = operation.pointer("/requestBody/content").and_then(Value::as_object) else {
        return String::new();
    };
    let Some(schema) = content.get("application/json").map(|json| resolved(description, &json["schema"])) else {
        return content.keys().map(|media| format!("`{media}`")).collect::<Vec<_>>().join(", ");
    };
    let none = Map::new();
    let members = schema["properties"].as_object().unwrap_or(&none);
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    listed(members.keys().map(|name| (name.as_str(), required.iter().any(|required| required == name))))
}

/// The schema itself, if it is a reference to one.
fn resolved<'a>(description: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str().and_then(|target| description.pointer(target.strip_prefix('#')?));
    target.unwrap_or(schema)
}

/// What a success looks like: statuses, and the name of what they carry.
fn answers(operation: &Value) -> Option<String> {
    let responses = operation["responses"].as_object()?.iter().filter(|(status, _)| *status != "default");
    let answers = responses.map(|(status, response)| {
        let carried = response.pointer("/content/application~1json/schema/$ref").and_then(Value::as_str);
        let name = carried.and_then(|target| target.rsplit('/').next());
        name.map_or_else(|| status.clone(), |name| format!("{status} {name}"))
    });
    Some(answers.collect::<Vec<_>>().join(", "))
}

/// Names, in italics what may be left out.
fn listed<'a>(names: impl Iterator<Item = (&'a str, bool)>) -> String {
    let names = names.map(|(name, required)| if required { format!("`{name}`") } else { format!("*`{name}`*") });
    names.collect::<Vec<_>>().join(", ")
}
