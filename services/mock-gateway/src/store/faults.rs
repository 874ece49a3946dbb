//! Queries of the table `fault_rules`, which all replicas share.

use sqlx::types::Json;

use super::Store;
use crate::domain::fault::Rule;

#[derive(Clone, Debug)]
pub struct StoredRule {
    pub id: i64,
    pub rule: Json<Rule>,
    /// How often it still applies; `None` is without limit.
    pub remaining: Option<i32>,
}

impl Store {
    /// All rules in their order, including those used up.
    pub async fn list_rules(&self) -> sqlx::Result<Vec<StoredRule>> {
        sqlx::query_as!(StoredRule, r#"select id, rule as "rule: Json<Rule>", remaining from fault_rules order by id"#)
            .fetch_all(&self.pool)
            .await
    }

    /// Uses a rule once. False if other requests have used it up.
    pub async fn use_rule(&self, id: i64) -> sqlx::Result<bool> {
        let used = sqlx::query!(
            "update fault_rules set remaining = remaining - 1 where id = $1 and (remaining is null or remaining > 0)",
            id
        )
        .execute(&self.pool)
        .await?;
        Ok(used.rows_affected() == 1)
    }

    pub async fn replace_rules(&self, rules: &[Rule]) -> sqlx::Result<()> {
        let mut tx = self.begin().await?;
        // Without the lock, concurrent replacements would leave both lists.
        sqlx::query!("lock table fault_rules in share row exclusive mode").execute(&mut *tx).await?;
        sqlx::query!("delete from fault_rules").execute(&mut *tx).await?;
        for rule in rules {
            sqlx::query!(
                "insert into fault_rules (rule, remaining) values ($1, $2)",
                Json(rule) as _,
                rule.times.map(i32::from)
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await
    }
}
