//! What the load and the accounts need to know of a contender.

use anyhow::{Context, Result};
use eventplatform_tests::{
    fleet::Detour,
    programs::Program,
    servers::Servers,
    stack::{Options, ServerUrls, Stack},
};
use futures::future::try_join_all;

/// The programs that are measured. The site's server gets no requests here, and the seed's stack has none.
const PROGRAMS: [Program; 5] =
    [Program::User, Program::Event, Program::Booking, Program::Notification, Program::MockGateway];

/// A running contender. Its services are reached at their own addresses: no proxy takes part.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) users: String,
    pub(crate) events: String,
    pub(crate) bookings: String,
    pub(crate) notifications: String,
    /// Each program and the process at the root of its tree.
    pub(crate) programs: Vec<(&'static str, i32)>,
    /// Its RabbitMQ, which no other contender uses.
    pub(crate) rabbitmq: i32,
    /// Where event-service counts its group commits. The seed's stack has none.
    pub(crate) event_metrics: Option<String>,
}

/// Starts the platform, one replica of each program, on the servers that all contenders share.
pub(crate) async fn start_platform(servers: &Servers, detour: Option<Detour>) -> Result<Stack> {
    let environment = PROGRAMS.map(|program| (program, "LOG_LEVEL", "warn".to_owned())).into();
    let server_urls = Some(ServerUrls::from(servers));
    Stack::start(Options { server_urls, environment, detour, ..Options::default() }).await
}

/// The platform as a contender.
pub(crate) async fn platform(stack: &Stack) -> Result<Contender> {
    let pid = async |program: Program| {
        let pid = stack.program(program).pid().await.context("a program has ended")?;
        anyhow::Ok((program.name(), pid))
    };
    let at = |program: Program| format!("http://{}", stack.program(program).address);
    Ok(Contender {
        name: "platform",
        users: at(Program::User),
        events: at(Program::Event),
        bookings: at(Program::Booking),
        notifications: at(Program::Notification),
        programs: try_join_all(PROGRAMS.map(pid)).await?,
        rabbitmq: stack.rabbitmq.pid().await.context("RabbitMQ has ended")?,
        event_metrics: Some(format!("http://{}/metrics", stack.program(Program::Event).admin)),
    })
}

/// Stops the platform and removes its documents, which would slow the next contender's.
pub(crate) async fn stop_platform(stack: Stack) -> Result<()> {
    let documents = [stack.documents(Program::Event).await?, stack.documents(Program::Notification).await?];
    stack.stop().await?;
    for database in documents {
        database.drop().await?;
    }
    Ok(())
}
