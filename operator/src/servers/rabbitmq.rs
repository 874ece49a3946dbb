//! RabbitMQ: checks that a user can log in.

use std::str::FromStr;

use lapin::{Connection, ConnectionProperties, ErrorKind, tcp::OwnedTLSConfig, uri::AMQPUri};

use super::{CONNECT_TIMEOUT, RabbitmqTarget, ServerFailure};

/// Logs in and out again.
pub(super) async fn check(target: RabbitmqTarget) -> Result<(), ServerFailure> {
    let uri = AMQPUri::from_str(target.url.expose())
        .map_err(|error| ServerFailure::Refused(format!("RabbitMQ: its URL does not parse: {error}")))?;
    let address = format!("RabbitMQ at {}:{}", uri.authority.host, uri.authority.port);
    match tokio::time::timeout(CONNECT_TIMEOUT * 2, connect(uri, &target)).await {
        Ok(Ok(connection)) => {
            // The login succeeded. How the connection closes does not matter.
            connection.close(200, "checked".into()).await.ok();
            Ok(())
        }
        Ok(Err(error)) => Err(failure(&address, &error)),
        Err(_) => Err(ServerFailure::Unreachable(format!("{address} did not answer"))),
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

fn failure(address: &str, error: &lapin::Error) -> ServerFailure {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) if refusal.get_id() == 403 => {
            ServerFailure::AuthFailed(format!("{address} rejects the credentials"))
        }
        ErrorKind::ProtocolError(refusal) => ServerFailure::Refused(format!("{address}: {refusal}")),
        _ => ServerFailure::Unreachable(format!("{address}: {error}")),
    }
}
