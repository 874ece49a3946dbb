//! A primary of MongoDB steps down, and another member takes over. Only a mongod can show that.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bson::doc;
use eventplatform_tests::process::{Daemon, Spec};
use eventplatform_tests::stack::{Options, ServerUrls};
use eventplatform_tests::{paths, ports, servers, wait};
use mongodb::Client;

use crate::checker::{self, QUIET_LIMIT, TOLD_LIMIT, Watcher};
use crate::workload::Workload;
use crate::world::World;
use crate::{alone, say};

const MEMBERS: usize = 3;
const LIMIT: Duration = Duration::from_secs(60);
/// Bookings between two primaries.
const BOOKINGS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mongod: a primary steps down, and one of two others takes over"]
async fn bookings_survive_that_the_primary_of_mongodb_steps_down() -> Result<()> {
    Box::pin(alone(LIMIT * 15, step_down())).await
}

async fn step_down() -> Result<()> {
    let folder = servers::scratch_folder()?;
    let set = ReplicaSet::start(folder.path()).await?;
    let postgres = std::env::var("TEST_POSTGRES_URL").context("run `make test`")?;
    let server_urls = Some(ServerUrls { postgres, mongodb: set.url.clone() });
    let world = Arc::new(World::start_with(20, Options { server_urls, ..Options::default() }).await?);
    let work = Workload::prepare(&world.stack, 10).await?;
    let mut users = work.run(16, 1);

    for round in 1..=3 {
        let before = work.journal.count_bookings();
        set.steps_down().await?;
        wait::until("bookings go on", LIMIT, async || {
            let since = work.journal.count_bookings() - before;
            ensure!(since >= BOOKINGS, "only {since} bookings");
            Ok(())
        })
        .await?;
        say(&format!("stepdown {round}: bookings go on"));
    }
    work.stop();
    while users.join_next().await.is_some() {}

    checker::quiet(&world, &work.journal, QUIET_LIMIT).await?;
    let violations = checker::check(&world, &work.journal, &mut Watcher::new(), TOLD_LIMIT).await?;
    ensure!(violations.is_empty(), "{violations:?}");
    Ok(())
}

struct ReplicaSet {
    url: String,
    _members: Vec<Daemon>,
}

impl ReplicaSet {
    async fn start(dir: &Path) -> Result<Self> {
        let mongod = match std::env::var_os("MONGOD") {
            Some(mongod) => mongod.into(),
            None => paths::on_path("mongod").context("no mongod")?,
        };
        let (mut members, mut hosts) = (Vec::new(), Vec::new());
        for number in 0..MEMBERS {
            let (port, data, mongod) = (ports::free()?, dir.join(format!("member-{number}")), mongod.clone());
            std::fs::create_dir(&data)?;
            hosts.push(format!("127.0.0.1:{port}"));
            members.push(Daemon::start(move || {
                let args = ["--port", &port.to_string(), "--bind_ip", "127.0.0.1", "--replSet", "rs0", "--dbpath"];
                Spec::new("mongod", &mongod).args(args).args([&data]).log_to(data.with_extension("log"))
            })?);
        }
        let one = Client::with_uri_str(format!("mongodb://{}/?directConnection=true", hosts[0])).await?;
        let listed: Vec<_> =
            (0_i32..).zip(&hosts).map(|(id, host)| doc! { "_id": id, "host": host.as_str() }).collect();
        let initiate = doc! { "replSetInitiate": { "_id": "rs0", "members": listed } };
        wait::until("the replica set is initiated", LIMIT, async || {
            Ok(one.database("admin").run_command(initiate.clone()).await?)
        })
        .await?;
        let set = Self { url: format!("mongodb://{}/?replicaSet=rs0", hosts.join(",")), _members: members };
        set.primary().await?;
        Ok(set)
    }

    async fn primary(&self) -> Result<String> {
        let client = Client::with_uri_str(&self.url).await?;
        wait::until("there is a primary", LIMIT, async || {
            let hello = client.database("admin").run_command(doc! { "hello": 1 }).await?;
            match (hello.get_bool("isWritablePrimary"), hello.get_str("me")) {
                (Ok(true), Ok(me)) => Ok(me.to_owned()),
                _ => bail!("not yet: {hello}"),
            }
        })
        .await
    }

    async fn steps_down(&self) -> Result<()> {
        let before = self.primary().await?;
        let client = Client::with_uri_str(&self.url).await?;
        // The member may close the connection instead of answering.
        client.database("admin").run_command(doc! { "replSetStepDown": 20, "force": true }).await.ok();
        wait::until("another member is primary", LIMIT, async || {
            let now = self.primary().await?;
            ensure!(now != before, "{now} still is");
            Ok(())
        })
        .await
    }
}
