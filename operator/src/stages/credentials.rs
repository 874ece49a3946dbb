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
        Ok(())
    }

    /// Creates the Secret, or adds the logins that it lacks and sets its owner.
    async fn apply_credential(&mut self, update: &CredentialUpdate) -> Result<()> {
        let CredentialUpdate { name, logins, set_owner, .. } = update;
        let identity = self.blueprint.identity;
        let mut secret = match &update.secret {
            Source::Existing(secret) => secret.clone(),
            Source::New(secret) => match self.applier.create_secret(identity, secret).await? {
                Some(secret) => secret,
                None => return Err(Error::Conflict(format!("Secret {name} was created at the same time"))),
            },
        };
        if !logins.is_empty() {
            secret = self.applier.add_keys(identity, &secret, logins).await?;
        }
        if let Some(owned) = set_owner {
            secret = self.applier.set_owner(identity, name, *owned).await?;
        }
        self.cluster.put(Kind::Secret, name, secret);
        Ok(())
    }
}
