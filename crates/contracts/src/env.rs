//! Names of the environment variables that the operator sets and the programs read.

/// Address of the public listener.
pub const LISTEN_ADDR: &str = "LISTEN_ADDR";
/// Address of the admin listener.
pub const ADMIN_ADDR: &str = "ADMIN_ADDR";
/// The origin that browsers see.
pub const PUBLIC_URL: &str = "PUBLIC_URL";
/// Log level or filter.
pub const LOG_LEVEL: &str = "LOG_LEVEL";
/// `auto`, `json` or `text`.
pub const LOG_FORMAT: &str = "LOG_FORMAT";
/// How long connections are still accepted after SIGTERM.
pub const SHUTDOWN_DELAY_SECONDS: &str = "SHUTDOWN_DELAY_SECONDS";
/// How long requests under way may take after that.
pub const DRAIN_SECONDS: &str = "DRAIN_SECONDS";
/// Whether the client's address is taken from X-Forwarded-For.
pub const TRUST_FORWARDED_FOR: &str = "TRUST_FORWARDED_FOR";
/// The PostgreSQL database, with credentials.
pub const DATABASE_URL: &str = "DATABASE_URL";
/// File that holds [`DATABASE_URL`].
pub const DATABASE_URL_FILE: &str = "DATABASE_URL_FILE";
/// The MongoDB replica set, with credentials.
pub const MONGODB_URL: &str = "MONGODB_URL";
/// File that holds [`MONGODB_URL`].
pub const MONGODB_URL_FILE: &str = "MONGODB_URL_FILE";
/// Name of the database in MongoDB.
pub const MONGODB_DATABASE: &str = "MONGODB_DATABASE";
/// RabbitMQ, with credentials.
pub const AMQP_URL: &str = "AMQP_URL";
/// File that holds [`AMQP_URL`].
pub const AMQP_URL_FILE: &str = "AMQP_URL_FILE";
/// Where user-service publishes the keys that verify access tokens.
pub const JWKS_URL: &str = "JWKS_URL";
/// Base URL of event-service.
pub const EVENT_SERVICE_URL: &str = "EVENT_SERVICE_URL";
/// File with the key that signs the service's own tokens.
pub const SERVICE_KEY_FILE: &str = "SERVICE_KEY_FILE";
/// Folder with the public keys of the services that may call.
pub const TRUSTED_SERVICE_KEYS_DIR: &str = "TRUSTED_SERVICE_KEYS_DIR";
/// Folder with the keys that sign access tokens.
pub const SIGNING_KEYS_DIR: &str = "SIGNING_KEYS_DIR";
/// Folder with the keys that sign the codes of tickets.
pub const TICKET_KEYS_DIR: &str = "TICKET_KEYS_DIR";
/// File with the key for refresh tokens.
pub const REFRESH_TOKEN_KEY_FILE: &str = "REFRESH_TOKEN_KEY_FILE";
/// E-mail address of the first administrator.
pub const ADMIN_EMAIL: &str = "ADMIN_EMAIL";
/// File with the password of the first administrator.
pub const ADMIN_PASSWORD_FILE: &str = "ADMIN_PASSWORD_FILE";
/// [`crate::payment::Provider`].
pub const PAYMENT_PROVIDER: &str = "PAYMENT_PROVIDER";
/// Base URL of the payment provider's API.
pub const PAYMENT_API_URL: &str = "PAYMENT_API_URL";
/// File with booking-service's key at the payment provider.
pub const PAYMENT_API_KEY_FILE: &str = "PAYMENT_API_KEY_FILE";
/// File with the secret that signs the webhooks that booking-service receives.
pub const PAYMENT_WEBHOOK_SECRET_FILE: &str = "PAYMENT_WEBHOOK_SECRET_FILE";
/// File with the API key that the mock gateway accepts.
pub const API_KEY_FILE: &str = "API_KEY_FILE";
/// File with the secret by which the mock gateway signs webhooks.
pub const WEBHOOK_SECRET_FILE: &str = "WEBHOOK_SECRET_FILE";
/// Where the mock gateway sends webhooks.
pub const WEBHOOK_URL: &str = "WEBHOOK_URL";
