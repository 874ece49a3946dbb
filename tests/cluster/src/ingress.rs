//! The ingress controller follows the cluster with a delay of its own.

use anyhow::{Result, ensure};
use eventplatform_operator::build::ingress::ROUTES;
use eventplatform_tests::api::Api as Platform;
use eventplatform_tests::wait;

use crate::namespace::READY_LIMIT;

/// Waits until each path of the platform is answered by one of its programs.
///
/// The controller reads ingresses and endpoints every few seconds. Until then it answers with a 404 or 502 of its own,
/// for each Service apart: one path that answers says nothing about the others.
pub async fn every_route_answers(visitor: &Platform) -> Result<()> {
    for (path, program) in ROUTES {
        wait::until(format!("the ingress leads to {}", program.name()), READY_LIMIT, async || {
            let reply = visitor.get(path).await?;
            // Every answer of a program has this header.
            let is_ours = reply.headers.contains_key("x-content-type-options");
            ensure!(is_ours && reply.status < 500, "{path}: {} {}", reply.status, reply.body);
            Ok(())
        })
        .await?;
    }
    Ok(())
}
