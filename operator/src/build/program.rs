//! The settings of each program.

use contracts::{env, payment::Provider};

use crate::{
    blueprint::Blueprint,
    build::connections,
    crd::{PaymentProvider, Service, TlsMode},
    credentials::Credential,
    program::Program,
};

/// Mount path of a program's derived Secret.
pub const SECRETS_DIR: &str = "/etc/eventplatform/secrets";
/// Mount path of user-service's signing keys.
pub const SIGNING_KEYS_DIR: &str = "/etc/eventplatform/signing-keys";
/// Mount path of booking-service's ticket keys.
pub const TICKET_KEYS_DIR: &str = "/etc/eventplatform/ticket-keys";
/// Mount path of the public keys of services that may call event-service.
pub const TRUSTED_KEYS_DIR: &str = "/etc/eventplatform/trusted-service-keys";
/// Mount path of the CA certificates of external servers.
pub const AUTHORITIES_DIR: &str = "/etc/eventplatform/authorities";
/// The port of every program's public listener.
pub const HTTP_PORT: i32 = 8080;
/// The port of every program's admin listener.
pub const ADMIN_PORT: i32 = 9090;
/// How long a program accepts requests after SIGTERM, while ingress controllers remove it.
pub const SHUTDOWN_DELAY_SECONDS: i32 = 10;
/// How long requests in flight may take after that.
pub const DRAIN_SECONDS: i32 = 20;

impl Program {
    pub fn service(self, blueprint: &Blueprint<'_>) -> Service {
        let services = &blueprint.spec.services;
        match self {
            Self::User => &services.user,
            Self::Event => &services.event,
            Self::MockGateway => &services.mock_gateway,
            Self::Booking => &services.booking,
            Self::Notification => &services.notification,
            Self::Frontend => &services.frontend,
        }
        .clone()
    }

    /// The settings, without the variables in the spec.
    pub fn environment(self, blueprint: &Blueprint<'_>) -> Vec<(String, String)> {
        let mut env = common(self, blueprint);
        env.extend(server_settings(self, blueprint));
        let own = match self {
            Self::User => user(blueprint),
            Self::Event => event(blueprint),
            Self::MockGateway => mock_gateway(blueprint),
            Self::Booking => booking(blueprint),
            Self::Notification => vec![pair(env::JWKS_URL, jwks_url(blueprint))],
            Self::Frontend => vec![pair(env::EVENT_SERVICE_URL, url(blueprint, Self::Event))],
        };
        env.extend(own);
        env
    }

    /// Secret settings that the program cannot read from a file: name, and key in its derived Secret.
    pub fn secret_environment(self, blueprint: &Blueprint<'_>) -> Vec<(&'static str, &'static str)> {
        let admin = self == Self::User && blueprint.spec.admin.is_some();
        if admin { vec![(env::ADMIN_EMAIL, "admin-email")] } else { Vec::new() }
    }

    /// The files of the derived Secret.
    pub fn secret_files(self, blueprint: &Blueprint<'_>) -> Vec<(String, String)> {
        let mut files = Vec::new();
        if self.uses_postgres() {
            files.push(pair("database-url", connections::database_url(blueprint, self)));
        }
        if self.uses_mongodb() {
            files.push(pair("mongodb-url", connections::mongodb_url(blueprint, self)));
        }
        if self.uses_rabbitmq() {
            files.push(pair("amqp-url", connections::amqp_url(blueprint, self)));
        }
        match self {
            Self::User => {
                files.push(pair(
                    "refresh-token.key",
                    blueprint.credential(Credential::RefreshTokenKey, "refresh-token.key"),
                ));
                if let Some(admin) = &blueprint.spec.admin {
                    let name = &admin.credentials_secret_ref.name;
                    files.push(pair("admin-email", blueprint.reference(name, "email")));
                    files.push(pair("admin-password", blueprint.reference(name, "password")));
                }
            }
            Self::Booking => {
                let key = blueprint.credential(Credential::BookingServiceKey, "private.pem");
                files.push(pair("service-key.pem", key));
                files.extend(payment_files(blueprint));
            }
            Self::MockGateway => files.extend(payment_files(blueprint)),
            Self::Event | Self::Notification | Self::Frontend => {}
        }
        files
    }
}

fn pair(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

fn file(name: &str, file: &str) -> (String, String) {
    pair(name, format!("{SECRETS_DIR}/{file}"))
}

fn common(program: Program, blueprint: &Blueprint<'_>) -> Vec<(String, String)> {
    vec![
        pair(env::LISTEN_ADDR, format!("0.0.0.0:{HTTP_PORT}")),
        pair(env::ADMIN_ADDR, format!("0.0.0.0:{ADMIN_PORT}")),
        pair(env::LOG_LEVEL, program.service(blueprint).log_level.into_str()),
        pair(env::LOG_FORMAT, "json"),
        pair(env::PUBLIC_URL, blueprint.public_url()),
        pair(env::SHUTDOWN_DELAY_SECONDS, SHUTDOWN_DELAY_SECONDS.to_string()),
        pair(env::DRAIN_SECONDS, DRAIN_SECONDS.to_string()),
        pair(env::TRUST_FORWARDED_FOR, "true"),
    ]
}

fn server_settings(program: Program, blueprint: &Blueprint<'_>) -> Vec<(String, String)> {
    let mut env = Vec::new();
    if program.uses_postgres() {
        env.push(file(env::DATABASE_URL_FILE, "database-url"));
    }
    if program.uses_mongodb() {
        env.push(file(env::MONGODB_URL_FILE, "mongodb-url"));
        env.push(pair(env::MONGODB_DATABASE, connections::mongodb_database(blueprint, program)));
    }
    if program.uses_rabbitmq() {
        env.push(file(env::AMQP_URL_FILE, "amqp-url"));
        if let Some(external) = &blueprint.spec.rabbitmq.external
            && external.tls.mode == TlsMode::VerifyFull
            && external.tls.ca_secret_ref.is_some()
        {
            // The directory keeps the public authorities beside the one in the file.
            env.push(pair("SSL_CERT_FILE", format!("{AUTHORITIES_DIR}/rabbitmq/ca.crt")));
            env.push(pair("SSL_CERT_DIR", "/etc/ssl/certs"));
        }
    }
    env
}

fn url(blueprint: &Blueprint<'_>, program: Program) -> String {
    format!("http://{}:{HTTP_PORT}", blueprint.identity.resource_name(program.name()))
}

fn jwks_url(blueprint: &Blueprint<'_>) -> String {
    format!("{}/.well-known/jwks.json", url(blueprint, Program::User))
}

fn user(blueprint: &Blueprint<'_>) -> Vec<(String, String)> {
    let mut env = vec![
        pair(env::SIGNING_KEYS_DIR, SIGNING_KEYS_DIR),
        file(env::REFRESH_TOKEN_KEY_FILE, "refresh-token.key"),
        pair(env::EVENT_SERVICE_URL, url(blueprint, Program::Event)),
    ];
    if blueprint.spec.admin.is_some() {
        env.push(file(env::ADMIN_PASSWORD_FILE, "admin-password"));
    }
    env
}

fn event(blueprint: &Blueprint<'_>) -> Vec<(String, String)> {
    vec![
        pair(env::JWKS_URL, jwks_url(blueprint)),
        pair(env::TRUSTED_SERVICE_KEYS_DIR, TRUSTED_KEYS_DIR),
        pair(env::PAYMENT_PROVIDER, payment_provider(blueprint)),
    ]
}

fn booking(blueprint: &Blueprint<'_>) -> Vec<(String, String)> {
    let mut env = vec![
        pair(env::JWKS_URL, jwks_url(blueprint)),
        pair(env::EVENT_SERVICE_URL, url(blueprint, Program::Event)),
        file(env::SERVICE_KEY_FILE, "service-key.pem"),
        pair(env::TICKET_KEYS_DIR, TICKET_KEYS_DIR),
        file(env::PAYMENT_API_KEY_FILE, "payment-api-key"),
        file(env::PAYMENT_WEBHOOK_SECRET_FILE, "payment-webhook-secret"),
    ];
    env.push(pair(env::PAYMENT_PROVIDER, payment_provider(blueprint)));
    if blueprint.spec.payments.provider == PaymentProvider::Mock {
        env.push(pair(env::PAYMENT_API_URL, url(blueprint, Program::MockGateway)));
    }
    env
}

fn payment_provider(blueprint: &Blueprint<'_>) -> &'static str {
    match blueprint.spec.payments.provider {
        PaymentProvider::Mock => Provider::Mock,
        PaymentProvider::Stripe => Provider::Stripe,
    }
    .as_str()
}

fn mock_gateway(blueprint: &Blueprint<'_>) -> Vec<(String, String)> {
    vec![
        file(env::API_KEY_FILE, "payment-api-key"),
        file(env::WEBHOOK_SECRET_FILE, "payment-webhook-secret"),
        pair(env::WEBHOOK_URL, format!("{}/payments/webhooks/{}", url(blueprint, Program::Booking), Provider::Mock)),
    ]
}

fn payment_files(blueprint: &Blueprint<'_>) -> Vec<(String, String)> {
    let value = |key: &str| match &blueprint.spec.payments.credentials_secret_ref {
        Some(reference) => blueprint.reference(&reference.name, key),
        None => blueprint.credential(Credential::MockGateway, key),
    };
    vec![pair("payment-api-key", value("api-key")), pair("payment-webhook-secret", value("webhook-secret"))]
}
