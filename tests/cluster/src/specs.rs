//! Specs of platforms for tests.

use serde_json::{Value, json};

/// A complete platform that asks for so little processor time that several fit on a machine with two cores. Only its
/// Services lead to it.
pub fn small() -> Value {
    let modest = json!({ "requests": { "cpu": "1m", "memory": "32Mi" }, "limits": { "memory": "512Mi" } });
    let service = json!({ "resources": modest });
    let server = json!({ "managed": { "storage": { "size": "1Gi" }, "resources": modest } });
    json!({
        "exposure": { "type": "None" },
        "services": {
            "user": service, "event": service, "booking": service, "notification": service, "frontend": service,
            "mockGateway": service,
        },
        "postgres": server, "mongodb": server, "rabbitmq": server,
    })
}

/// The spec with the value at a JSON pointer replaced, or added.
pub fn with(mut spec: Value, pointer: &str, value: impl Into<Value>) -> Value {
    let mut place = &mut spec;
    for key in pointer.trim_start_matches('/').split('/') {
        place = &mut place[key];
    }
    *place = value.into();
    spec
}
