//! Whether an existing object is still as desired. Defaults that the API server adds are not drift.

use serde_json::Value;

use crate::{quantity, resource::hash};

/// Whether `live` has everything in `desired`. It may have more, which others own.
pub fn covers(live: &Value, desired: &Value) -> bool {
    covers_at(live, desired, false)
}

fn covers_at(live: &Value, desired: &Value, quantities: bool) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => desired.iter().all(|(key, desired)| {
            let quantities = quantities || matches!(key.as_str(), "requests" | "limits");
            match live.get(key) {
                Some(live) => covers_at(live, desired, quantities),
                // The API server drops empty values.
                None => is_empty(desired),
            }
        }),
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len()
                && live.iter().zip(desired).all(|(live, desired)| covers_at(live, desired, quantities))
        }
        (Value::String(live), Value::String(desired)) if quantities => quantity::same(live, desired),
        (Value::Number(live), Value::Number(desired)) => live.as_f64() == desired.as_f64(),
        _ => live == desired,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Hash of an object without its status and the metadata that changes with every write.
pub fn fingerprint(live: &Value) -> String {
    let mut kept = live.clone();
    if let Some(object) = kept.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = kept["metadata"].as_object_mut() {
        for own in ["resourceVersion", "generation", "managedFields"] {
            metadata.remove(own);
        }
    }
    hash(&kept)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_api_server_are_not_drift() {
        let desired = json!({"spec": {"replicas": 1, "volumes": [], "containers": [{"name": "a"}]}});
        let live =
            json!({"spec": {"replicas": 1, "containers": [{"name": "a", "imagePullPolicy": "Always"}]}, "status": {}});

        assert!(covers(&live, &desired));
    }

    #[test]
    fn a_changed_field_and_a_longer_list_are_drift() {
        let desired = json!({"spec": {"replicas": 1, "containers": [{"name": "a"}]}});

        assert!(!covers(&json!({"spec": {"replicas": 2, "containers": [{"name": "a"}]}}), &desired));
        assert!(!covers(&json!({"spec": {"replicas": 1, "containers": [{"name": "a"}, {"name": "b"}]}}), &desired));
        assert!(!covers(&json!({"spec": {"containers": [{"name": "a"}]}}), &desired));
    }

    #[test]
    fn quantities_are_compared_by_value() {
        let desired = json!({"resources": {"requests": {"cpu": "0.5"}}, "name": "1"});

        assert!(covers(&json!({"resources": {"requests": {"cpu": "500m"}}, "name": "1"}), &desired));
        assert!(!covers(&json!({"resources": {"requests": {"cpu": "500m"}}, "name": "1000m"}), &desired));
    }
}
