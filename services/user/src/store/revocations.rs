//! Sessions that ended and roles that changed while access tokens of them have not expired.

use std::time::Duration;

use contracts::identity::{RevocationList, Role};

use super::Store;

impl Store {
    /// What changed in the last `lifetime`.
    pub async fn list_revocations(&self, lifetime: Duration) -> sqlx::Result<RevocationList> {
        let seconds = lifetime.as_secs_f64();
        let sessions = sqlx::query_scalar!(
            r#"select id::text as "id!" from sessions
               where revoked_at > now() - make_interval(secs => $1) order by id"#,
            seconds
        );
        let users = sqlx::query!(
            "select id, role from users where role_changed_at > now() - make_interval(secs => $1)",
            seconds
        );
        let sessions = sessions.fetch_all(&self.pool).await?;
        let roles = users.fetch_all(&self.pool).await?;
        let roles = roles.into_iter().filter_map(|row| Some((row.id, Role::parse(&row.role)?))).collect();
        Ok(RevocationList { sessions, roles })
    }
}
