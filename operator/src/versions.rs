//! Images of the managed servers. What last ran on a server's volumes is recorded there, and no server takes a major step
//! away from it by itself: its data would not open. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    crd::EventPlatformSpec,
    dereference::ClusterState,
    program::Program,
    resource::{Identity, Kind},
    rollout::is_serving,
    settings::Settings,
};

/// Annotation of a volume's claim with the image that last ran on it.
pub const IMAGE_ANNOTATION: &str = "platform.eventbooking.dev/image";

/// The image of one server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerImage {
    pub image: String,
    /// Why it is not the one in the spec.
    pub refused: Option<String>,
}

/// The images of the managed servers, by their names.
pub fn images(
    identity: &Identity,
    spec: &EventPlatformSpec,
    settings: &Settings,
    cluster: &ClusterState,
) -> BTreeMap<&'static str, ServerImage> {
    let postgres = spec.postgres.managed.as_ref().map(|managed| &managed.image);
    let mongodb = spec.mongodb.managed.as_ref().map(|managed| &managed.image);
    let rabbitmq = spec.rabbitmq.managed.as_ref().map(|managed| &managed.image);
    let servers = [
        ("postgres", postgres, &settings.postgres_image),
        ("mongodb", mongodb, &settings.mongodb_image),
        ("rabbitmq", rabbitmq, &settings.rabbitmq_image),
    ];
    let chosen = servers.into_iter().filter_map(|(server, explicit, default)| {
        let recorded = recorded(identity, cluster, server);
        Some((server, choose(server, explicit?.as_deref(), default, recorded.as_deref())))
    });
    chosen.collect()
}

/// The image that last ran: as the volumes say, or in releases before that, the StatefulSet.
fn recorded(identity: &Identity, cluster: &ClusterState, server: &str) -> Option<String> {
    let mut of_server = cluster.claims_of(server);
    let on_volume = of_server.find_map(|claim| claim["metadata"]["annotations"][IMAGE_ANNOTATION].as_str());
    on_volume.or_else(|| adopted(identity, cluster, server)).map(str::to_owned)
}

/// The image that a server runs. `None` until all of its pods are ready with what its StatefulSet says: an image that
/// cannot be pulled, or does not start, has not run.
pub fn running<'a>(identity: &Identity, cluster: &'a ClusterState, server: &str) -> Option<&'a str> {
    let live = cluster.get(Kind::StatefulSet, &identity.resource_name(server))?;
    if is_serving(live) { image_of(live) } else { None }
}

/// The image of a server that has run before images were recorded. It may be down or stopped now.
fn adopted<'a>(identity: &Identity, cluster: &'a ClusterState, server: &str) -> Option<&'a str> {
    let live = cluster.get(Kind::StatefulSet, &identity.resource_name(server))?;
    let status = &live["status"];
    // Of a server on its way to another revision, it is not known which of the two its ready pods have.
    let is_rolled_out = status["currentRevision"] == status["updateRevision"];
    let has_ready_pods = status["readyReplicas"].as_i64().unwrap_or(0) > 0;
    if is_rolled_out && (has_ready_pods || has_migrated(identity, cluster, server)) { image_of(live) } else { None }
}

/// Whether a schema was ever migrated on a server. A program with a schema is made only after that.
fn has_migrated(identity: &Identity, cluster: &ClusterState, server: &str) -> bool {
    let uses = |program: &Program| match server {
        "postgres" => program.uses_postgres(),
        "mongodb" => program.uses_mongodb(),
        _ => false,
    };
    let made = |program: Program| cluster.get(Kind::Deployment, &identity.resource_name(program.name())).is_some();
    Program::ALL.into_iter().filter(uses).any(made)
}

fn image_of(set: &Value) -> Option<&str> {
    set.pointer("/spec/template/spec/containers/0/image")?.as_str()
}

/// A step between versions that are both known and not of one major version is not taken. All others are.
fn choose(server: &str, explicit: Option<&str>, default: &str, recorded: Option<&str>) -> ServerImage {
    let wished = explicit.unwrap_or(default);
    let step = recorded.and_then(|recorded| Some((recorded, major(recorded)?, major(wished)?)));
    let Some((recorded, from, to)) = step.filter(|(_, from, to)| from != to) else {
        return ServerImage { image: wished.to_owned(), refused: None };
    };
    let refused = explicit.map(|wished| {
        format!(
            "{server}.managed.image {wished} is a major step from {recorded}, which goes on: version {to} may not open \
             what version {from} has written. Set it back to a version {from}, or make a new platform of version {to} \
             and move the data"
        )
    });
    ServerImage { image: recorded.to_owned(), refused }
}

/// The longest number of a major version. Longer ones are dates or hashes.
const MAX_MAJOR_DIGITS: usize = 3;

/// The version in an image's tag, such as 17.2. `None` if the tag does not begin with one, as a hash does not.
pub fn version(image: &str) -> Option<&str> {
    let (name, _) = image.split_once('@').unwrap_or((image, ""));
    let (_, tag) = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
    let end = tag.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(tag.len());
    let (version, rest) = tag.split_at(end);
    let version = version.trim_end_matches('.');
    let major = version.split('.').next()?;
    let is_version = (1..=MAX_MAJOR_DIGITS).contains(&major.len()) && (rest.is_empty() || rest.starts_with('-'));
    is_version.then_some(version)
}

fn major(image: &str) -> Option<&str> {
    version(image)?.split('.').next()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_version_is_the_one_that_the_tag_begins_with() {
        for (image, expected) in [
            ("docker.io/library/postgres:17", Some("17")),
            ("postgres:17.2-alpine", Some("17.2")),
            ("registry:5000/mongo:8.0.4@sha256:abc", Some("8.0.4")),
            ("registry:5000/mongo", None),
            ("postgres@sha256:abc", None),
            ("rabbitmq:management", None),
            ("mine:248921f88ceb", None),
            ("mine:20261128", None),
        ] {
            assert_eq!(version(image), expected, "{image}");
        }
    }

    #[test]
    fn minor_steps_are_taken_and_major_ones_are_not() {
        let image = |explicit, default, recorded| choose("postgres", explicit, default, recorded);

        assert_eq!(image(None, "postgres:17", None).image, "postgres:17");
        assert_eq!(image(None, "postgres:17.3", Some("postgres:17.2")).image, "postgres:17.3");
        assert_eq!(image(Some("postgres:17.1"), "postgres:18", Some("postgres:17.2")).image, "postgres:17.1");
        let default = image(None, "postgres:18", Some("postgres:17"));
        assert_eq!(default, ServerImage { image: "postgres:17".into(), refused: None });
        let refused = image(Some("postgres:18"), "postgres:17", Some("postgres:17"));
        assert_eq!(refused.image, "postgres:17");
        assert!(refused.refused.unwrap().contains("postgres:18 is a major step from postgres:17"));
    }

    #[test]
    fn an_image_without_a_version_is_always_taken() {
        let image = |explicit, default, recorded| choose("postgres", explicit, default, recorded).image;

        assert_eq!(image(Some("mine@sha256:1"), "postgres:17", Some("postgres:17")), "mine@sha256:1");
        assert_eq!(image(None, "mine@sha256:1", Some("postgres:17")), "mine@sha256:1");
        assert_eq!(image(None, "postgres:17", Some("mine@sha256:1")), "postgres:17");
    }

    /// A cluster with the StatefulSet of PostgreSQL.
    fn with_postgres(status: &Value) -> (Identity, ClusterState) {
        let identity = Identity { name: "demo".into(), namespace: "shop".into(), uid: "uid".into() };
        let mut cluster = ClusterState::default();
        let spec = json!({ "replicas": 1, "template": { "spec": { "containers": [{ "image": "postgres:16" }] } } });
        let set = json!({ "metadata": { "generation": 2 }, "spec": spec, "status": status });
        cluster.put(Kind::StatefulSet, "demo-postgres", set);
        (identity, cluster)
    }

    #[test]
    fn an_image_runs_once_every_pod_is_ready_with_it() {
        let ready = json!({
            "observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1,
            "currentRevision": "a", "updateRevision": "a",
        });
        let (identity, cluster) = with_postgres(&ready);
        assert_eq!(running(&identity, &cluster, "postgres"), Some("postgres:16"));

        for (field, value) in [
            ("observedGeneration", json!(1)),
            ("readyReplicas", json!(null)),
            ("updatedReplicas", json!(null)),
            ("currentRevision", json!("older")),
        ] {
            let mut status = ready.clone();
            status[field] = value;
            let (identity, cluster) = with_postgres(&status);
            assert_eq!(running(&identity, &cluster, "postgres"), None, "{field}");
        }
    }

    #[test]
    fn a_server_without_a_record_is_adopted_with_what_it_has_run() {
        let status = |ready: i64, current: &str| json!({ "readyReplicas": ready, "currentRevision": current, "updateRevision": "a" });
        let adopted = |status: &Value, migrated: bool| {
            let (identity, mut cluster) = with_postgres(status);
            if migrated {
                cluster.put(Kind::Deployment, "demo-user", json!({}));
            }
            recorded(&identity, &cluster, "postgres")
        };

        assert_eq!(adopted(&status(1, "a"), false).as_deref(), Some("postgres:16"));
        // It is down or stopped, and has run before.
        assert_eq!(adopted(&status(0, "a"), true).as_deref(), Some("postgres:16"));
        assert_eq!(adopted(&status(0, "a"), false), None, "it has never run");
        assert_eq!(adopted(&status(0, "older"), true), None, "its image may never have run");
    }
}
