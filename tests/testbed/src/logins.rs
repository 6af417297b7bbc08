//! The logins of `docker-compose.yml`. The private servers have them too.

/// The file that `docker-compose.yml` mounts into Redis.
const USERS: &str = include_str!("../../../compose/users.acl");

/// The file that `docker-compose.yml` mounts into PostgreSQL.
const ROLES: &str = include_str!("../../../compose/roles.sh");

/// The users that replicas and Sentinels log in with.
const REPLICATION: &str = include_str!("../../../compose/replication.acl");

/// The administrator's user name and password in both servers.
pub(crate) const ADMIN: (&str, &str) = ("fleet", "fleet");

/// The prefix of the other passwords. The name of the login follows.
const PASSWORD: &str = "local-use-only-";

/// A Redis user in `compose/users.acl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisLogin {
    /// `fleet`, the administrator, for setup and inspection.
    Admin,
    /// The user of `fleet-webhook-api`.
    Api,
    /// The user of `fleet-consumer`.
    Consumer,
    /// For people on call.
    Operator,
}

impl RedisLogin {
    /// Replaces the administrator's credentials in the URL by those of this login. A URL with other
    /// credentials is returned unchanged.
    #[must_use]
    pub fn of(self, admin_url: &str) -> String {
        match self {
            Self::Admin => admin_url.to_owned(),
            Self::Api => with_login(admin_url, "api"),
            Self::Consumer => with_login(admin_url, "consumer"),
            Self::Operator => with_login(admin_url, "operator"),
        }
    }
}

/// A PostgreSQL login in `compose/roles.sh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseLogin {
    /// `fleet`, a superuser, for setup and inspection.
    Admin,
    /// For `migrate`, `retention` and `replay`.
    Migrator,
    /// For the consumer, `audit` and `dead-letters`.
    Consumer,
    /// For backend developers.
    Reader,
    /// For people on call.
    Operator,
}

impl DatabaseLogin {
    /// Replaces the administrator's credentials in the URL by those of this login. A URL with other
    /// credentials is returned unchanged.
    #[must_use]
    pub fn of(self, admin_url: &str) -> String {
        match self {
            Self::Admin => admin_url.to_owned(),
            Self::Migrator => with_login(admin_url, "migrator"),
            Self::Consumer => with_login(admin_url, "consumer"),
            Self::Reader => with_login(admin_url, "reader"),
            Self::Operator => with_login(admin_url, "operator"),
        }
    }
}

fn with_login(admin_url: &str, name: &str) -> String {
    let (user, password) = ADMIN;
    admin_url.replacen(&format!("://{user}:{password}@"), &format!("://{name}:{PASSWORD}{name}@"), 1)
}

/// The administrator's URL of a server on a loopback port. `path` is empty or begins with `/`.
pub(crate) fn admin_url(scheme: &str, port: u16, path: &str) -> String {
    admin_url_of(scheme, &[port], path)
}

/// Like [`admin_url`], with several servers.
pub(crate) fn admin_url_of(scheme: &str, ports: &[u16], path: &str) -> String {
    let (user, password) = ADMIN;
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("{scheme}://{user}:{password}@{}{path}", hosts.join(","))
}

/// The Redis users, exactly as shipped.
#[must_use]
pub fn redis_users() -> &'static str {
    USERS
}

/// The Redis users for tests that share a server. Each test has its own key prefix: `test-` and an id. Every
/// key pattern `~fleet:…` of the shipped text is preceded by the same pattern for `test-*`. Nothing else
/// differs.
#[must_use]
pub fn redis_users_for_tests() -> String {
    let words = USERS.split_inclusive([' ', '\n']);
    words.fold(String::new(), |text, word| match word.strip_prefix("~fleet:") {
        // The last pattern of a selector is followed by a closing parenthesis.
        Some(rest) => text + "~test-*:" + rest.trim_end().trim_end_matches(')') + " " + word,
        None => text + word,
    })
}

/// The ACL file with the users that replicas and Sentinels log in with, unless it has them.
pub(crate) fn with_replication_users(acl: &str) -> String {
    let has = |line: &str| {
        let user: Vec<_> = line.split(' ').take(2).collect();
        acl.lines().any(|known| known.starts_with(&format!("{} ", user.join(" "))))
    };
    let missing = REPLICATION.lines().filter(|line| !has(line));
    missing.fold(format!("{}\n", acl.trim_end()), |text, line| text + line + "\n")
}

/// The SQL of `compose/roles.sh` with the passwords of `docker-compose.yml`.
pub(crate) fn roles_sql() -> String {
    let sql = ROLES.split_once("<<'SQL'\n").and_then(|(_, rest)| rest.split_once("SQL\n"));
    let sql = sql.map_or("", |(sql, _)| sql);
    ["migrator", "consumer", "reader", "operator"].iter().fold(sql.to_owned(), |sql, login| {
        sql.replace(&format!(":'{login}'"), &format!("'{PASSWORD}{login}'"))
    })
}

/// The part of `compose/roles.sh` for one database, for a further database on a server that already has the
/// roles.
#[must_use]
pub fn database_sql() -> String {
    let sql = roles_sql();
    let lines = sql.lines().filter(|line| !line.starts_with("CREATE ROLE "));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{DatabaseLogin, RedisLogin, admin_url, database_sql, redis_users_for_tests, roles_sql};

    #[test]
    fn a_login_replaces_the_administrators_alone() {
        let url = admin_url("redis", 1, "");
        assert_eq!(RedisLogin::Admin.of(&url), "redis://fleet:fleet@127.0.0.1:1");
        assert_eq!(RedisLogin::Api.of(&url), "redis://api:local-use-only-api@127.0.0.1:1");
        let url = admin_url("postgres", 1, "/fleet");
        let reader = DatabaseLogin::Reader.of(&url);
        assert_eq!(reader, "postgres://reader:local-use-only-reader@127.0.0.1:1/fleet");
        assert_eq!(DatabaseLogin::Consumer.of(&reader), reader);
    }

    #[test]
    fn tests_have_the_shipped_rights_on_their_own_keys_too() {
        let users = redis_users_for_tests();
        let api = users.lines().find(|line| line.starts_with("user api ")).unwrap();
        let keys: Vec<_> = api.split(' ').filter(|word| word.starts_with('~')).collect();
        let expected = ["~test-*:{*}:queue", "~fleet:{*}:queue)", "~test-*:{*}:ledger", "~fleet:{*}:ledger)"];
        assert_eq!(keys, expected);
        let is_ours = |word: &&str| !word.starts_with("~test-");
        let shipped: Vec<_> = super::redis_users().split([' ', '\n']).collect();
        assert_eq!(users.split([' ', '\n']).filter(is_ours).collect::<Vec<_>>(), shipped);
    }

    #[test]
    fn the_script_has_roles_and_passwords() {
        let sql = roles_sql();
        assert!(sql.contains(
            "CREATE ROLE consumer LOGIN PASSWORD 'local-use-only-consumer' IN ROLE fleet_consumer"
        ));
        assert!(!sql.contains(":'"), "{sql}");
        let database = database_sql();
        assert!(
            database.contains("CREATE EXTENSION") && database.contains("GRANT CREATE ON SCHEMA"),
            "{database}"
        );
        assert!(!database.contains("CREATE ROLE"), "{database}");
    }
}
