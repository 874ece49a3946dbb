//! MongoDB: initiates the replica set once, adds its members one by one, and creates a user for each program.
//!
//! A user on a replica set that others use too carries the platform's mark in its custom data. Without that mark, an existing
//! user is never changed: it may belong to another platform.

use std::collections::BTreeSet;

use bson::{Document, doc};
use mongodb::{
    Client,
    options::{ClientOptions, Credential, ServerAddress, Tls, TlsOptions},
};

use super::{Account, CONNECT_TIMEOUT, MongodbTarget, Prepared, ServerFailure, authority_file, is_mongodb_auth};

/// The state of a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Member {
    Primary,
    /// In a replica set, but not its primary.
    Other,
    Uninitiated,
    Unreachable,
}

/// Initiates and grows a managed replica set, and creates missing users.
pub(super) async fn prepare(target: MongodbTarget) -> Result<Prepared, ServerFailure> {
    let admin = match &target.initiate {
        None => client(&target, &target.hosts, false, Some((&target.admin, "admin"))).await?,
        Some(set) => {
            let primary = primary(&target, set).await?;
            let admin = client(&target, &[primary], true, Some((&target.admin, "admin"))).await?;
            if target.hosts.len() > 1 {
                add_member(&admin, &target.hosts).await?;
            }
            admin
        }
    };
    let outcome = create_accounts(&admin, &target).await;
    admin.shutdown().await;
    outcome
}

/// The address of the primary. Initiates a replica set that has never been initiated.
async fn primary(target: &MongodbTarget, set: &str) -> Result<String, ServerFailure> {
    let mut members = Vec::new();
    for host in &target.hosts {
        members.push((host, probe(target, host).await));
    }
    if let Some((host, _)) = members.iter().find(|(_, member)| *member == Member::Primary) {
        return Ok((*host).clone());
    }
    let first = &target.hosts[0];
    match decide(&members.iter().map(|(_, member)| *member).collect::<Vec<_>>()) {
        Decision::Initiate => {
            initiate(target, set, first).await?;
            Err(ServerFailure::NotReady(
                "MongoDB: the replica set was initiated and is electing its primary".to_owned(),
            ))
        }
        Decision::Wait(why) => Err(ServerFailure::NotReady(format!("MongoDB: {why}"))),
        Decision::Unreachable => Err(ServerFailure::Unreachable(format!("MongoDB at {first} does not answer"))),
    }
}

#[derive(Debug, Eq, PartialEq)]
enum Decision {
    Initiate,
    Wait(&'static str),
    Unreachable,
}

/// A replica set is initiated only if every member answers and none is in one: an unreachable member may hold the data
/// of a replica set whose first pod was lost.
fn decide(members: &[Member]) -> Decision {
    if members.contains(&Member::Other) {
        return Decision::Wait("the replica set has no primary yet");
    }
    match members.iter().filter(|member| **member == Member::Unreachable).count() {
        0 => Decision::Initiate,
        unreachable if unreachable == members.len() => Decision::Unreachable,
        _ => Decision::Wait("waiting for every member to answer before the replica set is initiated"),
    }
}

async fn probe(target: &MongodbTarget, host: &str) -> Member {
    let Ok(client) = client(target, &[host.to_owned()], true, None).await else { return Member::Unreachable };
    let hello = client.database("admin").run_command(doc! { "hello": 1 }).await;
    client.shutdown().await;
    match hello {
        Err(_) => Member::Unreachable,
        Ok(hello) if hello.get_bool("isWritablePrimary").unwrap_or(false) => Member::Primary,
        Ok(hello) if hello.contains_key("setName") => Member::Other,
        Ok(_) => Member::Uninitiated,
    }
}

async fn initiate(target: &MongodbTarget, set: &str, host: &str) -> Result<(), ServerFailure> {
    let admin = client(target, &[host.to_owned()], true, Some((&target.admin, "admin"))).await?;
    let config = doc! { "_id": set, "members": [{ "_id": 0, "host": host }] };
    let initiated = admin.database("admin").run_command(doc! { "replSetInitiate": config }).await;
    admin.shutdown().await;
    initiated.map(drop).map_err(|error| failure(&error))
}

/// Adds one missing member. MongoDB allows only one at a time.
async fn add_member(admin: &Client, hosts: &[String]) -> Result<(), ServerFailure> {
    let database = admin.database("admin");
    let answer = database.run_command(doc! { "replSetGetConfig": 1 }).await.map_err(|error| failure(&error))?;
    let config = answer.get_document("config").cloned().unwrap_or_default();
    let Some(grown) = with_next_member(config, hosts) else { return Ok(()) };
    database.run_command(doc! { "replSetReconfig": grown }).await.map_err(|error| failure(&error))?;
    Err(ServerFailure::NotReady("MongoDB: a member was added to the replica set and is copying the data".to_owned()))
}

/// The configuration with the first missing host. `None` if it has all hosts.
fn with_next_member(mut config: Document, hosts: &[String]) -> Option<Document> {
    let mut members = config.get_array("members").cloned().unwrap_or_default();
    let of = |member: &bson::Bson, key: &str| member.as_document().and_then(|member| member.get(key).cloned());
    let known: Vec<String> =
        members.iter().filter_map(|member| of(member, "host")?.as_str().map(str::to_owned)).collect();
    let missing = hosts.iter().find(|host| !known.contains(host))?;
    let next = members.iter().filter_map(|member| of(member, "_id")?.as_i32()).max().unwrap_or(-1) + 1;
    members.push(doc! { "_id": next, "host": missing }.into());
    let version = config.get_i32("version").unwrap_or(1) + 1;
    config.insert("version", version);
    config.insert("members", members);
    Some(config)
}

async fn create_accounts(admin: &Client, target: &MongodbTarget) -> Result<Prepared, ServerFailure> {
    admin.database("admin").run_command(doc! { "ping": 1 }).await.map_err(|error| failure(&error))?;
    let mut empty = BTreeSet::new();
    for account in &target.accounts {
        let is_empty = match is_empty(target, account).await {
            Ok(is_empty) => {
                mark_user(admin, target, account).await?;
                is_empty
            }
            Err(ServerFailure::AuthFailed(_)) => {
                create_or_take_user(admin, target, account).await?;
                is_empty(target, account).await?
            }
            // That says nothing about the user.
            Err(failure) => return Err(failure),
        };
        if is_empty {
            empty.insert(account.program);
        }
    }
    Ok(Prepared { empty })
}

/// Logs in as the user of a program. Returns whether its database has no collections.
async fn is_empty(target: &MongodbTarget, account: &Account) -> Result<bool, ServerFailure> {
    let direct = target.initiate.is_some() && target.hosts.len() == 1;
    let mut own = target.clone();
    own.password = account.password.clone();
    own.replica_set = target.replica_set.clone().or_else(|| target.initiate.clone().filter(|_| !direct));
    let client = client(&own, &target.hosts, direct, Some((&account.user, &account.database))).await?;
    let collections = client.database(&account.database).list_collection_names().await;
    client.shutdown().await;
    collections.map(|collections| collections.is_empty()).map_err(|error| failure(&error))
}

/// The user of a program as the server describes it.
async fn user(admin: &Client, account: &Account) -> Result<Option<Document>, ServerFailure> {
    let database = admin.database(&account.database);
    let found = database.run_command(doc! { "usersInfo": &account.user }).await.map_err(|error| failure(&error))?;
    let users = found.get_array("users").map(Vec::as_slice).unwrap_or_default();
    Ok(users.first().and_then(|user| user.as_document().cloned()))
}

/// The mark of a user.
fn mark(user: &Document) -> Option<&str> {
    user.get_document("customData").ok()?.get_str("owner").ok()
}

/// What makes the user of a program the platform's. `None` if it is somebody else's.
fn verb(found: Option<&Document>, owner: Option<&str>) -> Option<&'static str> {
    match (found, owner) {
        (None, _) => Some("createUser"),
        // Nobody else uses a replica set of the platform's own.
        (Some(_), None) => Some("updateUser"),
        (Some(user), Some(owner)) => (mark(user) == Some(owner)).then_some("updateUser"),
    }
}

/// Marks the user of an older release, which knows its password and so is the platform's.
async fn mark_user(admin: &Client, target: &MongodbTarget, account: &Account) -> Result<(), ServerFailure> {
    let Some(owner) = &target.owner else { return Ok(()) };
    let found = user(admin, account).await?;
    if found.is_some_and(|user| mark(&user).is_none()) {
        let command = doc! { "updateUser": &account.user, "customData": { "owner": owner } };
        // Without the right to mark it, the user works all the same.
        if let Err(error) = admin.database(&account.database).run_command(command).await {
            tracing::warn!(user = account.user, %error, "a user cannot be marked as the platform's");
        }
    }
    Ok(())
}

/// Creates the user of a program, or sets the password of its own.
async fn create_or_take_user(admin: &Client, target: &MongodbTarget, account: &Account) -> Result<(), ServerFailure> {
    let found = user(admin, account).await?;
    let Some(verb) = verb(found.as_ref(), target.owner.as_deref()) else {
        let (user, database, owner) = (&account.user, &account.database, target.owner.as_deref().unwrap_or_default());
        return Err(ServerFailure::NameTaken(format!(
            "MongoDB: user {user} of {database} exists and is not marked as this platform's; nothing was changed. Set \
             mongodb.external.prefix of one of the platforms, or if it is this platform's own, run as the administrator: \
             db.getSiblingDB('{database}').updateUser('{user}', {{customData: {{owner: '{owner}'}}}})"
        )));
    };
    let roles = vec![
        doc! { "role": "readWrite", "db": &account.database },
        // collMod sets the validators.
        doc! { "role": "dbAdmin", "db": &account.database },
    ];
    let mut command = doc! { verb: &account.user, "pwd": account.password.expose(), "roles": roles };
    if let Some(owner) = &target.owner {
        command.insert("customData", doc! { "owner": owner });
    }
    let database = admin.database(&account.database);
    database.run_command(command).await.map(drop).map_err(|error| failure(&error))
}

async fn client(
    target: &MongodbTarget,
    hosts: &[String],
    direct: bool,
    user: Option<(&str, &str)>,
) -> Result<Client, ServerFailure> {
    let refused = |error: mongodb::error::Error| ServerFailure::Refused(format!("MongoDB: {error}"));
    let hosts: Result<Vec<ServerAddress>, _> = hosts.iter().map(ServerAddress::parse).collect();
    let mut options = ClientOptions::default();
    options.hosts = hosts.map_err(refused)?;
    options.app_name = Some("eventplatform-operator".to_owned());
    options.connect_timeout = Some(CONNECT_TIMEOUT);
    options.server_selection_timeout = Some(CONNECT_TIMEOUT);
    options.max_pool_size = Some(1);
    options.direct_connection = Some(direct || (target.initiate.is_none() && target.replica_set.is_none()));
    if !direct {
        options.repl_set_name.clone_from(&target.replica_set);
    }
    options.credential = user.map(|(name, source)| {
        Credential::builder()
            .username(name.to_owned())
            .password(target.password.expose().to_owned())
            .source(source.to_owned())
            .build()
    });
    if let Some(tls) = &target.tls {
        let mut enabled = TlsOptions::default();
        if let Some(pem) = &tls.authority {
            enabled.ca_file_path = Some(authority_file(pem).await?);
        }
        options.tls = Some(Tls::Enabled(enabled));
    }
    Client::with_options(options).map_err(refused)
}

fn failure(error: &mongodb::error::Error) -> ServerFailure {
    let message = format!("MongoDB: {error}");
    match error.kind.as_ref() {
        _ if is_mongodb_auth(error) => ServerFailure::AuthFailed("MongoDB rejects the credentials".to_owned()),
        // If the driver cannot log in, server selection fails; only the text tells why.
        _ if message.contains("SCRAM") || message.contains("Authentication failed") => {
            ServerFailure::AuthFailed("MongoDB rejects the credentials".to_owned())
        }
        mongodb::error::ErrorKind::Command(_) => ServerFailure::Refused(message),
        _ => ServerFailure::Unreachable(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_set_is_initiated_only_if_all_members_answer_and_none_is_in_one() {
        use Member::{Other, Uninitiated, Unreachable};

        assert_eq!(decide(&[Uninitiated]), Decision::Initiate);
        assert_eq!(decide(&[Uninitiated, Uninitiated, Uninitiated]), Decision::Initiate);
        assert!(matches!(decide(&[Uninitiated, Unreachable, Uninitiated]), Decision::Wait(_)));
        assert!(matches!(decide(&[Uninitiated, Other, Unreachable]), Decision::Wait(_)));
        assert_eq!(decide(&[Unreachable, Unreachable, Unreachable]), Decision::Unreachable);
    }

    #[test]
    fn only_a_marked_user_is_changed_where_others_have_users_too() {
        let unmarked = doc! { "user": "event_service", "customData": {} };
        let marked = doc! { "user": "event_service", "customData": { "owner": "one" } };

        assert_eq!(verb(None, Some("one")), Some("createUser"));
        assert_eq!(verb(Some(&marked), Some("one")), Some("updateUser"));
        assert_eq!(verb(Some(&marked), Some("other")), None);
        assert_eq!(verb(Some(&unmarked), Some("one")), None);
        assert_eq!(verb(Some(&unmarked), None), Some("updateUser"));
    }

    #[test]
    fn members_are_added_one_at_a_time() {
        let hosts: Vec<String> = ["a:1", "b:1", "c:1"].map(str::to_owned).into();
        let first = doc! { "_id": "rs0", "version": 1, "members": [{ "_id": 0, "host": "a:1" }] };

        let second = with_next_member(first, &hosts).unwrap();
        let third = with_next_member(second.clone(), &hosts).unwrap();

        assert_eq!(second.get_array("members").unwrap().len(), 2);
        assert_eq!(third.get_i32("version").unwrap(), 3);
        assert_eq!(third.get_array("members").unwrap()[2].as_document().unwrap().get_str("host").unwrap(), "c:1");
        assert!(with_next_member(third, &hosts).is_none());
    }
}
