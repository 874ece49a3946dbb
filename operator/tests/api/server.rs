//! An API server in memory, with enough of server-side apply, defaults and versions to detect changes.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    /// The fields of each field manager, by its name and whether it applies them or writes them otherwise.
    managers: Managers,
}

type Managers = BTreeMap<(String, Operation), Value>;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Operation {
    Apply,
    Update,
}

#[derive(Default)]
struct State {
    /// Kinds in plural that the server does not know, besides [`UNKNOWN`].
    unknown: Vec<&'static str>,
    objects: BTreeMap<Key, Stored>,
    version: u64,
    writes: Vec<String>,
    /// Names of the Secrets whose data was given away.
    disclosed: BTreeSet<String>,
    events: Vec<String>,
    /// Every request fails after this many writes.
    crash_after: Option<usize>,
    /// The denied `verb plural`, and the answer to it.
    denied: Option<(String, u16, String)>,
    /// Whether volumes can be expanded.
    rigid: bool,
    /// Whether a webhook makes Deployments pull their images from a mirror.
    mirrored: bool,
    /// The Secret that somebody else writes just before the operator.
    contended: Option<String>,
}

/// Shared by the tests and the client.
#[derive(Clone, Default)]
pub(crate) struct ApiServer {
    state: Arc<Mutex<State>>,
}

/// Kinds that the server never knows.
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

    /// Names of the Secrets whose data was given away.
    pub(crate) fn disclosed(&self) -> BTreeSet<String> {
        self.state.lock().unwrap().disclosed.clone()
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

    /// Uninstalls the definition of a kind, or installs it again.
    pub(crate) fn forget_kind(&self, plural: &'static str, forgotten: bool) {
        let unknown = &mut self.state.lock().unwrap().unknown;
        unknown.retain(|known| *known != plural);
        unknown.extend(forgotten.then_some(plural));
    }

    /// Denies a permission.
    pub(crate) fn forbid(&self, verb_and_plural: Option<&str>) {
        let denied = verb_and_plural.map(|what| {
            let (verb, plural) = what.split_once(' ').unwrap();
            (what, 403, format!("User \"system:serviceaccount:x:y\" cannot {verb} resource \"{plural}\""))
        });
        self.deny(denied.as_ref().map(|(what, code, message)| (*what, *code, message.as_str())));
    }

    /// Answers `verb plural` with a code and a message.
    pub(crate) fn deny(&self, denied: Option<(&str, u16, &str)>) {
        self.state.lock().unwrap().denied =
            denied.map(|(what, code, message)| (what.to_owned(), code, message.to_owned()));
    }

    /// Makes the storage class of the volumes one that cannot expand them.
    pub(crate) fn forbid_expansion(&self) {
        self.state.lock().unwrap().rigid = true;
    }

    /// Installs a webhook that makes Deployments pull their images from a mirror.
    pub(crate) fn mirror_images(&self) {
        self.state.lock().unwrap().mirrored = true;
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
        let accept = parts.headers.get("accept").map_or("", |value| value.to_str().unwrap());
        let metadata_only = accept.contains("as=PartialObjectMetadata");
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        if query.get("watch").is_some_and(|watch| watch == "true") {
            // Nothing ever changes.
            let silence = stream::pending::<Result<Bytes, Infallible>>();
            return Response::new(axum::body::Body::from_stream(silence));
        }
        let (code, mut answer) =
            self.state.lock().unwrap().handle(&parts.method, parts.uri.path(), &query, &content_type, body);
        if metadata_only {
            drop_content(&mut answer);
        }
        self.state.lock().unwrap().disclosed.extend(disclosed(&answer));
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
        if UNKNOWN.iter().chain(&self.unknown).any(|unknown| *unknown == plural) {
            return failure(404, "NotFound", "the server could not find the requested resource");
        }
        let what = format!("{} {plural}", method.as_str().to_lowercase());
        if let Some((_, code, message)) = self.denied.as_ref().filter(|(denied, ..)| *denied == what) {
            return failure(*code, if *code == 403 { "Forbidden" } else { "InternalError" }, message);
        }
        if plural == "events" && method != Method::GET {
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
            ("GET", None) => {
                let selector = |kind: &str| query.get(kind).map_or("", String::as_str);
                (200, self.list(&plural, selector("labelSelector"), selector("fieldSelector")))
            }
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
                let manager = (query["fieldManager"].clone(), Operation::Update);
                (201, self.store(key, body.clone(), Some((manager, body))))
            }
            ("PATCH", Some(name)) => {
                let key = (plural, namespace, name);
                self.write_first(&key);
                if content_type.starts_with("application/apply-patch") {
                    let forced = query.get("force").is_some_and(|force| force == "true");
                    self.apply(key, &body, &query["fieldManager"], forced)
                } else {
                    let Some(stored) = self.objects.get(&key) else { return failure(404, "NotFound", "not found") };
                    let size = "/spec/resources/requests/storage";
                    if self.rigid && body.pointer(size).is_some_and(|new| Some(new) != stored.object.pointer(size)) {
                        let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions \
                                   the pvc must support resize";
                        return failure(
                            403,
                            "Forbidden",
                            &format!("persistentvolumeclaims {:?} is forbidden: {why}", key.2),
                        );
                    }
                    let mut object = stored.object.clone();
                    let expected = &body["metadata"]["resourceVersion"];
                    if !expected.is_null() && *expected != object["metadata"]["resourceVersion"] {
                        return failure(409, "Conflict", "the object has been modified");
                    }
                    merge_patch(&mut object, &body);
                    let manager = query.get("fieldManager").map(|name| (name.clone(), Operation::Update));
                    let fields = manager.map(|manager| {
                        let mut fields = stored.managers.get(&manager).cloned().unwrap_or_default();
                        merge_patch(&mut fields, &body);
                        (manager, fields)
                    });
                    (200, self.store(key, object, fields))
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

    fn list(&self, plural: &str, labels: &str, fields: &str) -> Value {
        let terms = |selector: &str| -> Vec<(String, String)> {
            let terms = selector.split(',').filter_map(|term| term.split_once('='));
            terms.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
        };
        let (labels, fields) = (terms(labels), terms(fields));
        let matches = |object: &Value| {
            labels.iter().all(|(key, value)| object["metadata"]["labels"][key] == **value)
                && fields.iter().all(|(key, value)| object[key] == **value)
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
            let own = (manager.to_owned(), Operation::Apply);
            let others: Vec<&Value> =
                before.managers.iter().filter(|(other, _)| **other != own).map(|(_, value)| value).collect();
            if let Some(previous) = before.managers.get(&own) {
                drop_missing(&mut object, previous, patch, &others);
            }
        }
        merge_apply(&mut object, patch);
        (200, self.store(key, object, Some(((manager.to_owned(), Operation::Apply), patch.clone()))))
    }

    fn store(&mut self, key: Key, mut object: Value, written: Option<((String, Operation), Value)>) -> Value {
        let before = self.objects.get(&key).cloned();
        default(&key.0, &mut object);
        if self.mirrored && key.0 == "deployments" {
            mirror(&mut object);
        }
        let mut managers = before.as_ref().map(|stored| stored.managers.clone()).unwrap_or_default();
        managers.extend(written);
        for fields in managers.values_mut() {
            forget_owners(fields, &object);
        }
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
        self.objects.insert(key, Stored { object: object.clone(), managers });
        object
    }
}

/// Nobody manages an owner reference that is gone.
fn forget_owners(fields: &mut Value, object: &Value) {
    let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    if let Some(Value::Array(managed)) = fields.pointer_mut("/metadata/ownerReferences") {
        managed.retain(|owner| owners.iter().any(|left| left["uid"] == owner["uid"]));
    }
}

/// Leaves the metadata of listed objects.
fn drop_content(list: &mut Value) {
    for object in list["items"].as_array_mut().into_iter().flatten() {
        object.as_object_mut().unwrap().retain(|key, _| key == "metadata");
        object["kind"] = json!("PartialObjectMetadata");
        object["apiVersion"] = json!("meta.k8s.io/v1");
    }
}

/// Names of the objects with data in an answer.
fn disclosed(answer: &Value) -> Vec<String> {
    let objects = answer["items"].as_array().into_iter().flatten().chain([answer]);
    let with_data = objects.filter(|object| object["data"].is_object());
    with_data.filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)).collect()
}

fn managed_fields(managers: &Managers) -> Value {
    let entry = |((manager, operation), fields): (&(String, Operation), &Value)| {
        let replicas = if fields["spec"].get("replicas").is_some() { json!({ "f:replicas": {} }) } else { json!({}) };
        json!({ "manager": manager, "operation": format!("{operation:?}"), "fieldsV1": { "f:spec": replicas } })
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

/// Makes a Deployment pull its image from a mirror.
fn mirror(deployment: &mut Value) {
    let image = &mut deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    let name = image.as_str().unwrap();
    if !name.starts_with("mirror.example.org/") {
        *image = json!(format!("mirror.example.org/{name}"));
    }
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
                let target = target.entry(key.clone()).or_insert(Value::Null);
                match (key.as_str(), value) {
                    ("ownerReferences", Value::Array(owners)) => merge_owners(target, owners),
                    _ => merge_apply(target, value),
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// Owner references are a map by their uid, unlike the other lists here.
fn merge_owners(target: &mut Value, patch: &[Value]) {
    let mut owners = target.as_array().cloned().unwrap_or_default();
    for owner in patch {
        owners.retain(|present| present["uid"] != owner["uid"]);
        owners.push(owner.clone());
    }
    *target = owners.into();
}

/// Removes the owner references that a manager applied before, applies no longer, and shares with nobody.
fn drop_missing_owners(target: &mut Value, previous: &[Value], patch: &Value, others: &[&Value]) {
    let Some(target) = target.as_array_mut() else { return };
    let has = |list: &Value, owner: &Value| {
        list.as_array().is_some_and(|owners| owners.iter().any(|other| other["uid"] == owner["uid"]))
    };
    target.retain(|owner| {
        let dropped = previous.iter().any(|before| before["uid"] == owner["uid"]) && !has(patch, owner);
        !dropped || others.iter().any(|other| has(other, owner))
    });
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
            (Some(patch), Some(value)) => match before {
                Value::Array(before) if key == "ownerReferences" => drop_missing_owners(value, before, patch, &others),
                _ => drop_missing(value, before, patch, &others),
            },
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
