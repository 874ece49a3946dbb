//! An API server in memory, with enough of server-side apply, defaults and versions to detect changes.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::body::Bytes;
use futures::stream;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

/// Kinds in plural, namespace and name.
type Key = (String, String, String);

#[derive(Clone)]
struct Stored {
    object: Value,
    /// What each field manager has applied last.
    applied: BTreeMap<String, Value>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Stored>,
    version: u64,
    writes: Vec<String>,
    events: Vec<String>,
    /// Every request fails after this many writes.
    crash_after: Option<usize>,
    /// The forbidden `verb plural`.
    forbidden: Option<String>,
    /// The Secret that somebody else writes just before the operator.
    contended: Option<String>,
}

/// Shared by the tests and the client.
#[derive(Clone, Default)]
pub(crate) struct ApiServer {
    state: Arc<Mutex<State>>,
}

/// Kinds that the server does not know.
const UNKNOWN: [&str; 2] = ["httproutes", "servicemonitors"];

impl ApiServer {
    /// A client of this server.
    pub(crate) fn client(&self) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        kube::Client::new(service, "shop")
    }

    /// What was written since the last call, as `verb plural/name`.
    pub(crate) fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().writes)
    }

    /// Reasons of the events since the last call.
    pub(crate) fn take_events(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().events)
    }

    /// Fails every request after this many writes.
    pub(crate) fn crash_after(&self, writes: Option<usize>) {
        let mut state = self.state.lock().unwrap();
        state.writes.clear();
        state.crash_after = writes;
    }

    /// Denies a permission.
    pub(crate) fn forbid(&self, verb_and_plural: Option<&str>) {
        self.state.lock().unwrap().forbidden = verb_and_plural.map(str::to_owned);
    }

    /// Makes somebody else write a Secret just before the operator's next write to it.
    pub(crate) fn contend(&self, secret: &str) {
        self.state.lock().unwrap().contended = Some(secret.to_owned());
    }

    /// An object.
    pub(crate) fn get(&self, plural: &str, name: &str) -> Option<Value> {
        let key = (plural.to_owned(), "shop".to_owned(), name.to_owned());
        self.state.lock().unwrap().objects.get(&key).map(|stored| stored.object.clone())
    }

    /// All objects of a kind.
    pub(crate) fn list(&self, plural: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state.objects.iter().filter(|(key, _)| key.0 == plural).map(|(_, stored)| stored.object.clone()).collect()
    }

    /// Kind and name of everything there is.
    pub(crate) fn names(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.objects.keys().map(|(plural, _, name)| format!("{plural}/{name}")).collect()
    }

    /// Writes an object as somebody else.
    pub(crate) fn put(&self, plural: &str, object: Value) {
        let mut state = self.state.lock().unwrap();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        state.store((plural.to_owned(), "shop".to_owned(), name), object, None);
    }

    /// Changes an object as somebody else.
    pub(crate) fn edit(&self, plural: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut object = self.get(plural, name).unwrap_or_else(|| panic!("no {plural}/{name}"));
        edit(&mut object);
        self.put(plural, object);
    }

    /// Deletes an object as somebody else.
    pub(crate) fn remove(&self, plural: &str, name: &str) {
        let key = (plural.to_owned(), "shop".to_owned(), name.to_owned());
        self.state.lock().unwrap().objects.remove(&key);
    }

    async fn answer(&self, request: Request<Body>) -> Response<axum::body::Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let content_type = parts.headers.get("content-type").map_or("", |value| value.to_str().unwrap()).to_owned();
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        if query.get("watch").is_some_and(|watch| watch == "true") {
            // Nothing ever changes.
            let silence = stream::pending::<Result<Bytes, Infallible>>();
            return Response::new(axum::body::Body::from_stream(silence));
        }
        let (code, answer) =
            self.state.lock().unwrap().handle(&parts.method, parts.uri.path(), &query, &content_type, body);
        Response::builder().status(code).body(serde_json::to_vec(&answer).unwrap().into()).unwrap()
    }
}

impl State {
    fn handle(
        &mut self,
        method: &Method,
        path: &str,
        query: &BTreeMap<String, String>,
        content_type: &str,
        body: Value,
    ) -> (u16, Value) {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let at = parts.iter().position(|part| *part == "namespaces").expect("a namespaced path");
        let (namespace, plural) = (parts[at + 1].to_owned(), parts[at + 2].to_owned());
        let name = parts.get(at + 3).map(|name| (*name).to_owned());
        let subresource = parts.get(at + 4).copied();
        if UNKNOWN.contains(&plural.as_str()) {
            return failure(404, "NotFound", "the server could not find the requested resource");
        }
        if self.forbidden.as_deref() == Some(&format!("{} {plural}", method.as_str().to_lowercase())) {
            return failure(
                403,
                "Forbidden",
                &format!("cannot {} resource \"{plural}\"", method.as_str().to_lowercase()),
            );
        }
        if plural == "events" {
            self.events.push(body["reason"].as_str().unwrap_or_default().to_owned());
            return (201, body);
        }
        if method != Method::GET {
            if self.crash_after.is_some_and(|limit| self.writes.len() >= limit) {
                return failure(500, "InternalError", "the connection is gone");
            }
            let what = name.clone().unwrap_or_else(|| body["metadata"]["name"].as_str().unwrap().to_owned());
            let sub = subresource.map(|sub| format!("/{sub}")).unwrap_or_default();
            self.writes.push(format!("{} {plural}/{what}{sub}", method.as_str().to_lowercase()));
        } else if self.crash_after.is_some_and(|limit| self.writes.len() >= limit) {
            return failure(500, "InternalError", "the connection is gone");
        }
        match (method.as_str(), name) {
            ("GET", None) => (200, self.list(&plural, query.get("labelSelector").map_or("", String::as_str))),
            ("GET", Some(name)) => match self.objects.get(&(plural, namespace, name)) {
                Some(stored) => (200, stored.object.clone()),
                None => failure(404, "NotFound", "not found"),
            },
            ("POST", None) => {
                let name = body["metadata"]["name"].as_str().unwrap().to_owned();
                let key = (plural, namespace, name);
                if self.objects.contains_key(&key) {
                    return failure(409, "AlreadyExists", "already exists");
                }
                (201, self.store(key, body, None))
            }
            ("PATCH", Some(name)) => {
                let key = (plural, namespace, name);
                self.write_first(&key);
                if content_type.starts_with("application/apply-patch") {
                    let forced = query.get("force").is_some_and(|force| force == "true");
                    self.apply(key, &body, &query["fieldManager"], forced)
                } else {
                    let Some(stored) = self.objects.get(&key) else { return failure(404, "NotFound", "not found") };
                    let mut object = stored.object.clone();
                    let expected = &body["metadata"]["resourceVersion"];
                    if !expected.is_null() && *expected != object["metadata"]["resourceVersion"] {
                        return failure(409, "Conflict", "the object has been modified");
                    }
                    merge_patch(&mut object, &body);
                    (200, self.store(key, object, None))
                }
            }
            ("DELETE", Some(name)) => match self.objects.remove(&(plural, namespace, name)) {
                Some(stored) => (200, stored.object),
                None => failure(404, "NotFound", "not found"),
            },
            (method, name) => panic!("{method} {name:?} is not simulated"),
        }
    }

    fn write_first(&mut self, key: &Key) {
        if key.0 != "secrets" || self.contended.as_ref() != Some(&key.2) {
            return;
        }
        self.contended = None;
        let mut object = self.objects[key].object.clone();
        object["metadata"]["annotations"]["written-by"] = json!("somebody else");
        self.store(key.clone(), object, None);
    }

    fn list(&self, plural: &str, selector: &str) -> Value {
        let matches = |object: &Value| {
            selector.split(',').filter(|term| !term.is_empty()).all(|term| {
                let (key, value) = term.split_once('=').unwrap();
                object["metadata"]["labels"][key] == value
            })
        };
        let items: Vec<Value> = self
            .objects
            .iter()
            .filter(|(key, stored)| key.0 == plural && matches(&stored.object))
            .map(|(_, stored)| {
                // Lists leave kind and version of their items out.
                let mut object = stored.object.clone();
                object.as_object_mut().unwrap().retain(|key, _| key != "kind" && key != "apiVersion");
                object
            })
            .collect();
        json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "1" }, "items": items })
    }

    fn apply(&mut self, key: Key, patch: &Value, manager: &str, forced: bool) -> (u16, Value) {
        assert!(patch["metadata"].get("managedFields").is_none(), "managedFields must not be sent");
        let before = self.objects.get(&key).cloned();
        let mut object = before.as_ref().map_or_else(|| json!({}), |stored| stored.object.clone());
        if let Some(before) = &before {
            if !forced {
                return failure(409, "Conflict", "conflict with another manager");
            }
            let others: Vec<&Value> =
                before.applied.iter().filter(|(other, _)| *other != manager).map(|(_, value)| value).collect();
            if let Some(previous) = before.applied.get(manager) {
                drop_missing(&mut object, previous, patch, &others);
            }
        }
        merge_apply(&mut object, patch);
        (200, self.store(key, object, Some((manager.to_owned(), patch.clone()))))
    }

    fn store(&mut self, key: Key, mut object: Value, applied: Option<(String, Value)>) -> Value {
        let before = self.objects.get(&key).cloned();
        default(&key.0, &mut object);
        let mut managers = before.as_ref().map(|stored| stored.applied.clone()).unwrap_or_default();
        managers.extend(applied);
        let changed = before.as_ref().is_none_or(|before| content(&before.object) != content(&object));
        if before.is_none() {
            self.version += 1;
            object["metadata"]["uid"] = json!(format!("uid-{}", self.version));
            object["metadata"]["namespace"] = json!(key.1);
            object["metadata"]["generation"] = json!(1);
        } else if before.as_ref().is_some_and(|before| before.object["spec"] != object["spec"]) {
            let generation = object["metadata"]["generation"].as_i64().unwrap_or(1) + 1;
            object["metadata"]["generation"] = json!(generation);
        }
        if changed {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        }
        object["metadata"]["managedFields"] = managed_fields(&managers);
        self.objects.insert(key, Stored { object: object.clone(), applied: managers });
        object
    }
}

fn managed_fields(managers: &BTreeMap<String, Value>) -> Value {
    let entry = |(manager, applied): (&String, &Value)| {
        let replicas = if applied["spec"].get("replicas").is_some() { json!({ "f:replicas": {} }) } else { json!({}) };
        json!({ "manager": manager, "operation": "Apply", "fieldsV1": { "f:spec": replicas } })
    };
    managers.iter().map(entry).collect()
}

/// What counts as a change.
fn content(object: &Value) -> Value {
    let mut object = object.clone();
    for own in ["resourceVersion", "managedFields", "generation"] {
        object["metadata"].as_object_mut().map(|metadata| metadata.remove(own));
    }
    object
}

/// Some of what an API server makes of an object: defaults, canonical amounts, nothing empty.
fn default(plural: &str, object: &mut Value) {
    if plural == "deployments" && object["spec"].get("replicas").is_none() {
        object["spec"]["replicas"] = json!(1);
    }
    if let Some(pod) = object.pointer_mut("/spec/template/spec") {
        pod["dnsPolicy"] = json!("ClusterFirst");
        pod["schedulerName"] = json!("default-scheduler");
    }
    canonical(object);
}

fn canonical(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.as_array().is_some_and(Vec::is_empty));
            for (key, value) in map.iter_mut() {
                if key == "cpu" && value == "0.5" {
                    *value = json!("500m");
                }
                canonical(value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(canonical),
        _ => {}
    }
}

fn merge_apply(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge_apply(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// Removes what a manager applied before, applies no longer, and shares with nobody.
fn drop_missing(target: &mut Value, previous: &Value, patch: &Value, others: &[&Value]) {
    let (Some(target), Some(previous)) = (target.as_object_mut(), previous.as_object()) else { return };
    for (key, before) in previous {
        let others: Vec<&Value> = others.iter().filter_map(|other| other.get(key)).collect();
        match (patch.get(key), target.get_mut(key)) {
            (None, Some(_)) if others.is_empty() => {
                target.remove(key);
            }
            (Some(patch), Some(value)) => drop_missing(value, before, patch, &others),
            _ => {}
        }
    }
}

fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge_patch(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn failure(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code,
    });
    (code, status)
}
