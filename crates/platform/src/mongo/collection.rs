//! Collections with their validators and indexes, created or brought up to date by migrations.

use bson::{Document, doc};
use futures::TryStreamExt;
use mongodb::{Database, IndexModel, error::Result, options::IndexOptions};

/// Creates a collection with its validator and indexes, or brings them up to date. Safe to repeat.
///
/// A validator is changed only where it differs, because that needs more rights than to create a collection. Indexes
/// are added, never removed; one whose name stands for other keys or options is an error.
pub async fn ensure_collection(
    database: &Database,
    name: &str,
    validator: Document,
    indexes: impl IntoIterator<Item = IndexModel>,
) -> Result<()> {
    let present = database.list_collections().filter(doc! { "name": name }).await?.try_next().await?;
    match present {
        None => database.create_collection(name).validator(validator).await?,
        Some(collection) if collection.options.validator.as_ref() == Some(&validator) => {}
        Some(_) => database.run_command(doc! { "collMod": name, "validator": validator }).await.map(drop)?,
    }
    let indexes: Vec<_> = indexes.into_iter().collect();
    if !indexes.is_empty() {
        database.collection::<Document>(name).create_indexes(indexes).await?;
    }
    Ok(())
}

/// A plain index.
pub fn index(name: &str, keys: Document) -> IndexModel {
    index_with(name, keys, IndexOptions::default())
}

/// An index with options of its own, such as `unique`; their name is replaced by `name`.
pub fn index_with(name: &str, keys: Document, options: IndexOptions) -> IndexModel {
    let mut options = options;
    options.name = Some(name.to_owned());
    IndexModel::builder().keys(keys).options(options).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_keeps_its_options_and_gets_its_name() {
        let unique = IndexOptions::builder().unique(true).build();

        let options = index_with("user_id_seq", doc! { "user_id": 1, "seq": 1 }, unique).options.expect("given");

        assert_eq!((options.name.as_deref(), options.unique), (Some("user_id_seq"), Some(true)));
    }
}
