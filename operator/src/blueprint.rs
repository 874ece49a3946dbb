//! What a platform is built from: its spec, the settings that complete it, and what the cluster holds for it. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    crd::{EventPlatformSpec, Management, PaymentProvider},
    credentials::{Credential, Record, SecretData},
    dereference::ClusterState,
    program::Program,
    resource::{Identity, Kind},
    settings::Settings,
    versions::ServerImage,
};

/// Everything that decides what a platform consists of.
#[derive(Clone, Copy, Debug)]
pub struct Blueprint<'a> {
    pub identity: &'a Identity,
    pub spec: &'a EventPlatformSpec,
    /// Supplies what the spec leaves out.
    pub settings: &'a Settings,
    /// The generated credentials. Complete when objects are built.
    pub credentials: &'a BTreeMap<Credential, SecretData>,
    /// The Secrets that the spec refers to, by name. Complete when objects are built.
    pub references: &'a BTreeMap<String, SecretData>,
    /// The images of the managed servers.
    pub images: &'a BTreeMap<&'static str, ServerImage>,
    /// Whether pods of the programs still exist. While stopping, the servers wait for them.
    pub programs_running: bool,
    /// Whether the cluster has ServiceMonitors.
    pub knows_service_monitor: bool,
}

/// A platform that can be built.
#[derive(Clone, Debug)]
pub struct Validated<'a> {
    /// Without credentials and references.
    pub blueprint: Blueprint<'a>,
    /// The content of every Secret that the spec refers to, by name.
    pub references: BTreeMap<String, SecretData>,
    /// The Secrets of the generated credentials that exist.
    pub credentials: BTreeMap<Credential, Value>,
    /// What was ever generated.
    pub record: Record,
}

static NO_CREDENTIALS: BTreeMap<Credential, SecretData> = BTreeMap::new();
static NO_REFERENCES: BTreeMap<String, SecretData> = BTreeMap::new();

impl<'a> Blueprint<'a> {
    /// A blueprint that lacks credentials and references.
    pub fn new(
        identity: &'a Identity,
        spec: &'a EventPlatformSpec,
        settings: &'a Settings,
        images: &'a BTreeMap<&'static str, ServerImage>,
        cluster: &ClusterState,
    ) -> Self {
        Self {
            identity,
            spec,
            settings,
            credentials: &NO_CREDENTIALS,
            references: &NO_REFERENCES,
            images,
            programs_running: cluster.programs_running(identity),
            knows_service_monitor: cluster.kinds.contains(&Kind::ServiceMonitor),
        }
    }
}

impl Blueprint<'_> {
    /// The programs that run. The mock gateway does only where it takes the payments.
    pub fn programs(&self) -> Vec<Program> {
        let mock = self.spec.payments.provider == PaymentProvider::Mock;
        Program::ALL.into_iter().filter(|program| mock || *program != Program::MockGateway).collect()
    }

    /// Tag of the platform's images.
    pub fn version(&self) -> &str {
        self.spec.image.tag.as_deref().unwrap_or(&self.settings.image_tag)
    }

    pub fn image(&self, program: Program) -> String {
        let registry = self.spec.image.registry.as_deref().unwrap_or(&self.settings.image_registry);
        format!("{registry}/{}:{}", program.image(), self.version())
    }

    /// The image of a managed server.
    pub fn server_image(&self, server: &str) -> &str {
        self.images.get(server).map_or("", |server| &server.image)
    }

    /// The origin that browsers see.
    pub fn public_url(&self) -> String {
        let exposure = &self.spec.exposure;
        match (&exposure.url, &exposure.host) {
            (Some(url), _) => url.clone(),
            (None, Some(host)) if exposure.tls.is_some() => format!("https://{host}"),
            (None, Some(host)) => format!("http://{host}"),
            (None, None) => "http://localhost:8080".to_owned(),
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.spec.management == Management::Stopped
    }

    /// A generated credential as text.
    pub fn credential(&self, credential: Credential, key: &str) -> String {
        text(self.credentials.get(&credential), key)
    }

    /// A key of a Secret that the spec refers to, as text.
    pub fn reference(&self, name: &str, key: &str) -> String {
        text(self.references.get(name), key)
    }
}

fn text(data: Option<&SecretData>, key: &str) -> String {
    let bytes = data.and_then(|data| data.get(key)).map(Vec::as_slice).unwrap_or_default();
    String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n']).to_owned()
}
