//! Images of the managed servers. What last ran on a server's volumes is recorded there, and no server takes a major step
//! away from it by itself: its data would not open. Pure.

use std::collections::BTreeMap;

use crate::{
    crd::EventPlatformSpec,
    dereference::ClusterState,
    resource::{Identity, Kind},
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
    let set = || cluster.get(Kind::StatefulSet, &identity.resource_name(server));
    let image = on_volume.or_else(|| set()?.pointer("/spec/template/spec/containers/0/image")?.as_str());
    image.map(str::to_owned)
}

fn choose(server: &str, explicit: Option<&str>, default: &str, recorded: Option<&str>) -> ServerImage {
    let wished = explicit.unwrap_or(default);
    let recorded = recorded.unwrap_or(wished);
    let keep = |refused| ServerImage { image: recorded.to_owned(), refused };
    match (major(recorded), major(wished)) {
        _ if wished == recorded => keep(None),
        (Some(from), Some(to)) if from != to => keep(explicit.map(|wished| {
            format!(
                "{server}.managed.image {wished} is a major step from {recorded}, which goes on: version {to} may not open \
                 what version {from} has written. Set it back to a version {from}, or make a new platform of version {to} \
                 and move the data"
            )
        })),
        // A default that changed to something unknown is no wish of anybody's.
        (None, _) | (_, None) if explicit.is_none() => keep(None),
        _ => ServerImage { image: wished.to_owned(), refused: None },
    }
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
    fn an_image_without_a_version_is_taken_only_from_the_spec() {
        let image = |explicit, default, recorded| choose("postgres", explicit, default, recorded).image;

        assert_eq!(image(Some("mine@sha256:1"), "postgres:17", Some("postgres:17")), "mine@sha256:1");
        assert_eq!(image(None, "mine@sha256:1", Some("postgres:17")), "postgres:17");
    }
}
