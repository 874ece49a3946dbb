//! The operator's settings: what it watches, where it runs, and the default images.

use clap::Args;

/// Settings of the operator.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The only namespace to watch. Default: every namespace.
    #[arg(long, env = "WATCH_NAMESPACE")]
    pub watch_namespace: Option<String>,
    /// The namespace of the operator itself and of its Lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub pod_namespace: String,
    /// Name of this pod, which identifies it in leader election.
    #[arg(long, env = "POD_NAME", default_value = "eventplatform-operator")]
    pub pod_name: String,
    /// Name of the Lease that the replicas of the operator compete for.
    #[arg(long, env = "LEASE_NAME", default_value = "eventplatform-operator")]
    pub lease_name: String,
    /// Registry and path prefix of the platform's images.
    #[arg(long, env = "IMAGE_REGISTRY", default_value = "localhost/eventplatform")]
    pub image_registry: String,
    /// Tag of the platform's images.
    #[arg(long, env = "IMAGE_TAG", default_value = env!("CARGO_PKG_VERSION"))]
    pub image_tag: String,
    /// Image of PostgreSQL.
    #[arg(long, env = "POSTGRES_IMAGE", default_value = "docker.io/library/postgres:17")]
    pub postgres_image: String,
    /// Image of MongoDB.
    #[arg(long, env = "MONGODB_IMAGE", default_value = "docker.io/library/mongo:8")]
    pub mongodb_image: String,
    /// Image of RabbitMQ.
    #[arg(long, env = "RABBITMQ_IMAGE", default_value = "docker.io/library/rabbitmq:4")]
    pub rabbitmq_image: String,
    /// Time limit of one reconcile, in seconds.
    #[arg(long, env = "RECONCILE_TIMEOUT_SECONDS", default_value_t = 60)]
    pub reconcile_timeout_seconds: u64,
    /// How often a platform is reconciled when nothing changes, in seconds. External servers are checked this often.
    #[arg(long, env = "RESYNC_SECONDS", default_value_t = 20)]
    pub resync_seconds: u64,
    /// How many platforms are reconciled at once.
    #[arg(long, env = "CONCURRENCY", default_value_t = 4)]
    pub concurrency: u16,
}

impl Default for Settings {
    /// The defaults of the command line, for tests.
    fn default() -> Self {
        Self {
            watch_namespace: None,
            pod_namespace: "default".to_owned(),
            pod_name: "eventplatform-operator".to_owned(),
            lease_name: "eventplatform-operator".to_owned(),
            image_registry: "localhost/eventplatform".to_owned(),
            image_tag: env!("CARGO_PKG_VERSION").to_owned(),
            postgres_image: "docker.io/library/postgres:17".to_owned(),
            mongodb_image: "docker.io/library/mongo:8".to_owned(),
            rabbitmq_image: "docker.io/library/rabbitmq:4".to_owned(),
            reconcile_timeout_seconds: 60,
            resync_seconds: 20,
            concurrency: 4,
        }
    }
}
