//! Names on servers that platforms may share. They are chosen when a platform is new, and kept in one of its Secrets.

use serde_json::json;

use crate::resource::{Identity, hash};

/// What a platform's databases, users and virtual host are called on external servers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Names {
    /// Prefix of databases and users.
    pub prefix: String,
    /// The virtual host of RabbitMQ.
    pub vhost: String,
}

impl Names {
    /// Names of a new platform. The hash tells `a-b/c` and `a/b-c` apart, which read alike.
    pub fn new(identity: &Identity) -> Self {
        let Identity { namespace, name, .. } = identity;
        let readable: String = readable(identity).chars().take(24).collect();
        let hash = hash(&json!([namespace, name]));
        // PostgreSQL and MongoDB allow 63 characters. Neither part of the virtual host may have a dot in it.
        Self { prefix: format!("{readable}_{}_", &hash[..8]), vhost: format!("{namespace}.{name}") }
    }

    /// Names of a platform from before they were kept. Another platform may have the same.
    pub fn of_older_release(identity: &Identity) -> Self {
        let whole = readable(identity);
        let short: String = whole.chars().take(30).collect();
        let tail = if short == whole { String::new() } else { hash(&whole.into())[..6].to_owned() };
        Self { prefix: format!("{short}{tail}_"), vhost: "/".to_owned() }
    }
}

fn readable(identity: &Identity) -> String {
    format!("{}_{}", identity.namespace, identity.name).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(namespace: &str, name: &str) -> Identity {
        Identity { name: name.into(), namespace: namespace.into(), uid: "1".into() }
    }

    #[test]
    fn no_two_platforms_have_the_same_names() {
        let (one, other) = (identity("shop-eu", "demo"), identity("shop", "eu-demo"));

        let (new, older) = (Names::new(&one), Names::of_older_release(&one));

        assert_ne!(new.prefix, Names::new(&other).prefix);
        assert_ne!(new.vhost, Names::new(&other).vhost);
        assert!(new.prefix.starts_with("shop_eu_demo_"), "{}", new.prefix);
        assert_eq!(older, Names { prefix: "shop_eu_demo_".into(), vhost: "/".into() });
        let long = Names::new(&identity(&"n".repeat(63), &"p".repeat(30)));
        assert!(format!("{}notification_service", long.prefix).len() <= 63, "{}", long.prefix);
    }
}
