//! The credentials, before everything else.

use super::Stages;
use crate::{
    credentials::{CredentialUpdate, Source},
    error::{Error, Result},
    resource::Kind,
};

impl Stages<'_> {
    pub(super) async fn apply_credentials(&mut self) -> Result<()> {
        let plan = self.plan;
        for update in &plan.credentials {
            self.apply_credential(update).await?;
        }
        // Last, because the record among the annotations says that all of them exist.
        for update in &plan.credentials {
            self.annotate_credential(update).await?;
        }
        Ok(())
    }

    /// Creates the Secret, or adds the values that it lacks and sets its owner.
    async fn apply_credential(&mut self, update: &CredentialUpdate) -> Result<()> {
        let CredentialUpdate { name, missing, set_owner, .. } = update;
        let identity = self.blueprint.identity;
        let mut secret = match &update.secret {
            Source::Existing(secret) => secret.clone(),
            Source::New(secret) => match self.applier.create_secret(identity, secret).await? {
                Some(secret) => secret,
                None => return Err(Error::Conflict(format!("Secret {name} was created at the same time"))),
            },
        };
        if !missing.is_empty() {
            secret = self.applier.add_keys(identity, &secret, missing).await?;
        }
        if let Some(owned) = set_owner {
            secret = self.applier.set_owner(identity, &secret, *owned).await?;
        }
        self.cluster.put(Kind::Secret, name, secret);
        Ok(())
    }

    async fn annotate_credential(&mut self, update: &CredentialUpdate) -> Result<()> {
        let present = self.cluster.get(Kind::Secret, &update.name).map(|secret| &secret["metadata"]["annotations"]);
        let has = |(key, value): (&String, &String)| present.is_some_and(|present| present[key] == **value);
        if !update.annotations.iter().all(has) {
            let identity = self.blueprint.identity;
            let secret = self.applier.annotate_secret(identity, &update.name, &update.annotations).await?;
            self.cluster.put(Kind::Secret, &update.name, secret);
        }
        Ok(())
    }
}
