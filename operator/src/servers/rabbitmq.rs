//! RabbitMQ: checks that a user can log in, and marks the virtual host of a broker that others use too.

use std::str::FromStr;

use lapin::{
    Connection, ConnectionProperties, ErrorKind, ExchangeKind,
    options::ExchangeDeclareOptions,
    tcp::OwnedTLSConfig,
    types::{AMQPValue, FieldTable},
    uri::AMQPUri,
};

use super::{CONNECT_TIMEOUT, RabbitmqTarget, ServerFailure};

/// The exchange that marks a virtual host. Nothing is published to it.
const OWNER_EXCHANGE: &str = "eventplatform.owner";

/// Logs in and out again.
pub(super) async fn check(target: RabbitmqTarget) -> Result<(), ServerFailure> {
    let uri = AMQPUri::from_str(target.url.expose())
        .map_err(|error| ServerFailure::Refused(format!("RabbitMQ: its URL does not parse: {error}")))?;
    let address = format!("RabbitMQ at {}:{}", uri.authority.host, uri.authority.port);
    let vhost = uri.vhost.clone();
    let work = async {
        let connection = connect(uri, &target).await.map_err(|error| failure(&address, &vhost, &error))?;
        let marked = match &target.owner {
            Some(owner) => mark(&connection, &address, &vhost, owner).await,
            None => Ok(()),
        };
        // The login succeeded. How the connection closes does not matter.
        connection.close(200, "checked".into()).await.ok();
        marked
    };
    let unreachable = || ServerFailure::Unreachable(format!("{address} did not answer"));
    tokio::time::timeout(CONNECT_TIMEOUT * 2, work).await.unwrap_or_else(|_| Err(unreachable()))
}

/// Declares an exchange that no other platform can declare likewise: of its arguments, the broker compares the alternate
/// exchange. AMQP has no other place for a mark.
async fn mark(connection: &Connection, address: &str, vhost: &str, owner: &str) -> Result<(), ServerFailure> {
    let channel = connection.create_channel().await.map_err(|error| failure(address, vhost, &error))?;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("alternate-exchange".into(), AMQPValue::LongString(owner.into()));
    match channel.exchange_declare(OWNER_EXCHANGE.into(), ExchangeKind::Fanout, options, arguments).await {
        Ok(()) => Ok(()),
        Err(error) => match error.kind() {
            // PRECONDITION_FAILED
            ErrorKind::ProtocolError(refusal) if refusal.get_id() == 406 => Err(ServerFailure::NameTaken(format!(
                "{address}: virtual host {vhost} belongs to another platform. Give each a virtual host of its own in \
                 rabbitmq.external.vhost, or if that platform is gone, delete the exchange {OWNER_EXCHANGE}"
            ))),
            // ACCESS_REFUSED: without the right to mark it, the virtual host works all the same.
            ErrorKind::ProtocolError(refusal) if refusal.get_id() == 403 => {
                tracing::warn!(vhost, %error, "a virtual host cannot be marked as the platform's");
                Ok(())
            }
            _ => Err(failure(address, vhost, &error)),
        },
    }
}

async fn connect(uri: AMQPUri, target: &RabbitmqTarget) -> lapin::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name("eventplatform-operator".into());
    match target.tls.as_ref().and_then(|tls| tls.authority.clone()) {
        None => Connection::connect_uri(uri, properties).await,
        Some(authority) => {
            let config = OwnedTLSConfig { identity: None, cert_chain: Some(authority) };
            Connection::connect_uri_with_config(uri, properties, config, lapin::runtime::default_runtime()?).await
        }
    }
}

fn failure(address: &str, vhost: &str, error: &lapin::Error) -> ServerFailure {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) if refusal.get_id() == 403 => {
            ServerFailure::AuthFailed(format!("{address} rejects the credentials"))
        }
        // NOT_ALLOWED
        ErrorKind::ProtocolError(refusal) if refusal.get_id() == 530 => ServerFailure::Refused(format!(
            "{address}: {refusal}; create the virtual host {vhost} and give the user all permissions in it: rabbitmqctl \
             add_vhost {vhost}"
        )),
        ErrorKind::ProtocolError(refusal) => ServerFailure::Refused(format!("{address}: {refusal}")),
        _ => ServerFailure::Unreachable(format!("{address}: {error}")),
    }
}
