//! What the operator does on real servers that platforms share. `make test` starts them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use eventplatform_operator::{
    program::Program,
    servers::{Account, NetworkServers, PostgresTarget, Prepared, RabbitmqTarget, ServerFailure, Servers},
};
use platform::config::Secret;
use sqlx::{Connection, PgConnection};
use testing::server;
use tokio::net::TcpListener;
use url::Url;

/// A platform on the PostgreSQL of the tests, with a prefix of its own.
struct Shared {
    target: PostgresTarget,
    admin: PgConnection,
}

impl Shared {
    async fn new(prefix: &str) -> Self {
        let url = Url::parse(&server("TEST_POSTGRES_URL")).unwrap();
        let account = Account {
            program: Program::User,
            user: format!("{prefix}_user_service"),
            password: Secret::new("first".to_owned()),
            database: format!("{prefix}_users"),
        };
        let target = PostgresTarget {
            host: url.host_str().unwrap().to_owned(),
            port: url.port().unwrap_or(5432),
            admin: url.username().to_owned(),
            password: Secret::new(url.password().unwrap_or_default().to_owned()),
            tls: None,
            accounts: vec![account],
            owner: Some("EventPlatform shop/demo 1".to_owned()),
        };
        let admin = PgConnection::connect(url.as_str()).await.unwrap();
        let mut shared = Self { target, admin };
        shared.forget().await;
        shared
    }

    async fn prepare(&self) -> Result<Prepared, ServerFailure> {
        NetworkServers::default().postgres(&self.target).await
    }

    async fn execute(&mut self, statement: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut self.admin).await.unwrap();
    }

    /// Whether the platform's own password is right.
    async fn logs_in(&self) -> bool {
        let account = &self.target.accounts[0];
        let mut url = Url::parse(&server("TEST_POSTGRES_URL")).unwrap();
        url.set_username(&account.user).unwrap();
        url.set_password(Some(account.password.expose())).unwrap();
        url.set_path(&account.database);
        PgConnection::connect(url.as_str()).await.is_ok()
    }

    async fn forget(&mut self) {
        let Account { user, database, .. } = self.target.accounts[0].clone();
        self.execute(&format!("drop database if exists {database} with (force)")).await;
        self.execute(&format!("drop role if exists {user}")).await;
    }
}

#[tokio::test]
async fn a_role_is_created_marked_and_taken_again_only_by_its_platform() {
    let mut shared = Shared::new("operator_marked").await;
    let empty = Prepared { empty: BTreeSet::from([Program::User]) };
    assert_eq!(shared.prepare().await, Ok(empty));
    assert!(shared.logs_in().await);

    // Its login was lost and generated again.
    shared.target.accounts[0].password = Secret::new("second".to_owned());
    shared.prepare().await.unwrap();
    assert!(shared.logs_in().await);

    // Another platform has the same names.
    shared.target.owner = Some("EventPlatform shop/demo 2".to_owned());
    shared.target.accounts[0].password = Secret::new("third".to_owned());
    let refused = shared.prepare().await.unwrap_err();
    assert_eq!(refused.reason(), "NameTaken");
    assert!(refused.to_string().contains("comment on role \"operator_marked_user_service\" is"), "{refused}");
    shared.target.accounts[0].password = Secret::new("second".to_owned());
    assert!(shared.logs_in().await, "the password was changed");
    shared.forget().await;
}

#[tokio::test]
async fn an_unmarked_role_is_marked_by_whoever_knows_its_password() {
    let mut shared = Shared::new("operator_unmarked").await;
    shared.prepare().await.unwrap();
    shared.execute("comment on role operator_unmarked_user_service is null").await;
    let own = shared.target.accounts[0].password.clone();

    shared.target.accounts[0].password = Secret::new("wrong".to_owned());
    assert_eq!(shared.prepare().await.unwrap_err().reason(), "NameTaken");
    shared.target.accounts[0].password = own;
    shared.prepare().await.unwrap();

    // Now it is known again, whatever its password is.
    shared.target.accounts[0].password = Secret::new("third".to_owned());
    shared.prepare().await.unwrap();
    assert!(shared.logs_in().await);
    shared.forget().await;
}

#[tokio::test]
async fn a_database_that_is_missing_is_created_and_one_of_somebody_else_is_left_alone() {
    let mut shared = Shared::new("operator_database").await;
    shared.prepare().await.unwrap();
    shared.execute("drop database operator_database_users").await;

    shared.prepare().await.unwrap();
    assert!(shared.logs_in().await);
    shared.execute("alter database operator_database_users owner to current_user").await;
    shared.execute("drop owned by operator_database_user_service; drop role operator_database_user_service").await;

    let refused = shared.prepare().await.unwrap_err();
    assert_eq!(refused.reason(), "NameTaken", "{refused}");
    shared.forget().await;
}

#[tokio::test]
async fn a_role_is_left_alone_when_its_login_fails_for_another_reason() {
    let mut shared = Shared::new("operator_limited").await;
    shared.prepare().await.unwrap();
    shared.execute("alter role operator_limited_user_service connection limit 0").await;
    shared.target.accounts[0].password = Secret::new("first".to_owned());

    let refused = shared.prepare().await.unwrap_err();

    assert_eq!(refused.reason(), "Refused", "{refused}");
    shared.forget().await;
}

#[tokio::test]
async fn a_database_with_tables_is_not_empty() {
    let mut shared = Shared::new("operator_tables").await;
    shared.prepare().await.unwrap();
    let mut url = Url::parse(&server("TEST_POSTGRES_URL")).unwrap();
    url.set_path("operator_tables_users");
    let mut own = PgConnection::connect(url.as_str()).await.unwrap();
    sqlx::raw_sql("create table things (id integer)").execute(&mut own).await.unwrap();

    assert_eq!(shared.prepare().await, Ok(Prepared::default()));
    own.close().await.unwrap();
    shared.forget().await;
}

#[tokio::test]
async fn a_virtual_host_belongs_to_the_first_platform_that_marks_it() {
    // The other suites use this virtual host too. The mark does not concern them.
    let target = |owner: Option<&str>| RabbitmqTarget {
        url: Secret::new(server("TEST_AMQP_URL")),
        tls: None,
        owner: owner.map(str::to_owned),
    };
    let one = target(Some("EventPlatform shop/demo 1"));
    NetworkServers::default().rabbitmq(&one).await.unwrap();

    NetworkServers::default().rabbitmq(&one).await.unwrap();
    NetworkServers::default().rabbitmq(&target(None)).await.unwrap();
    let refused = NetworkServers::default().rabbitmq(&target(Some("EventPlatform shop-eu/demo 2"))).await.unwrap_err();

    assert_eq!(refused.reason(), "NameTaken");
    assert!(refused.to_string().contains("belongs to another platform"), "{refused}");
}

#[tokio::test]
async fn a_missing_virtual_host_is_named_with_the_command_that_creates_it() {
    let mut url = Url::parse(&server("TEST_AMQP_URL")).unwrap();
    url.set_path("/shop.missing");
    let target = RabbitmqTarget { url: Secret::new(url.to_string()), tls: None, owner: None };

    let refused = NetworkServers::default().rabbitmq(&target).await.unwrap_err();

    assert!(refused.to_string().contains("rabbitmqctl add_vhost shop.missing"), "{refused}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_keeps_only_the_first_reconcile_waiting() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://a:b@{}/%2f", silent.local_addr().unwrap());
    let target = RabbitmqTarget { url: Secret::new(url), tls: None, owner: None };
    let servers = NetworkServers::default();
    servers.rabbitmq(&target).await.unwrap_err();

    let again = Instant::now();
    for _ in 0..4 {
        assert_eq!(servers.rabbitmq(&target).await.unwrap_err().reason(), "Unreachable");
    }

    assert!(again.elapsed() < Duration::from_secs(4), "{:?}", again.elapsed());
}
