//! The pair every demo and test needs.

use crate::logins::redis_users_for_tests;
use crate::{DatabaseLogin, Error, Postgres, Progress, Redis, RedisLogin, RedisOptions, Root};

/// Names a Redis of one's own; to be set together with [`DATABASE_URL_VARIABLE`].
pub const REDIS_URL_VARIABLE: &str = "FLEET_TEST_REDIS_URL";

/// Names a TimescaleDB of one's own; to be set together with [`REDIS_URL_VARIABLE`].
pub const DATABASE_URL_VARIABLE: &str = "FLEET_TEST_DATABASE_URL";

/// `compose` says that the servers of the two variables have the logins of `docker-compose.yml`, and that their users
/// of Redis may use the tests' keys, as those have that `cargo xtask services` starts.
pub const LOGINS_VARIABLE: &str = "FLEET_TEST_LOGINS";

/// The only value of [`LOGINS_VARIABLE`].
const COMPOSE: &str = "compose";

/// Where the servers come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Servers that run already, named by the two variables.
    External {
        /// `FLEET_TEST_REDIS_URL`.
        redis_url: String,
        /// `FLEET_TEST_DATABASE_URL`.
        database_url: String,
        /// Whether they have the logins of `docker-compose.yml` too, as `FLEET_TEST_LOGINS` says.
        have_logins: bool,
    },
    /// Servers to start from the private root.
    Private,
}

impl Source {
    /// Decides from the environment, which `lookup` reads. An empty variable counts as not set.
    ///
    /// # Errors
    /// [`Error::OneUrlOnly`] if only one of the two variables is set.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let read = |name| lookup(name).filter(|value| !value.trim().is_empty());
        match (read(REDIS_URL_VARIABLE), read(DATABASE_URL_VARIABLE)) {
            (Some(redis_url), Some(database_url)) => {
                let have_logins = read(LOGINS_VARIABLE).is_some_and(|value| value == COMPOSE);
                Ok(Self::External { redis_url, database_url, have_logins })
            }
            (None, None) => Ok(Self::Private),
            (Some(_), None) => {
                Err(Error::OneUrlOnly { set: REDIS_URL_VARIABLE, missing: DATABASE_URL_VARIABLE })
            }
            (None, Some(_)) => {
                Err(Error::OneUrlOnly { set: DATABASE_URL_VARIABLE, missing: REDIS_URL_VARIABLE })
            }
        }
    }
}

/// A Redis and a TimescaleDB. Private ones end, and their data go, when this is dropped. Kept in a `static`,
/// which is never dropped, they end with the process all the same, and the next start removes their data.
#[derive(Debug)]
pub struct Services {
    redis_url: String,
    database_url: String,
    have_logins: bool,
    private: Option<(Redis, Postgres)>,
}

impl Services {
    /// The servers the environment names, else private ones exactly as shipped, with progress where the caller wants it.
    ///
    /// # Errors
    /// [`Error::OneUrlOnly`], [`Error::NoRoot`] or [`Error::Start`], each saying what to do.
    pub fn start(progress: &Progress) -> Result<Self, Error> {
        Self::start_with(progress, |root| Redis::start(root, &[]))
    }

    /// As [`Services::start`], but the users of a private Redis may use the tests' keys too; progress goes to stderr.
    ///
    /// # Errors
    /// As [`Services::start`].
    pub fn start_for_tests() -> Result<Self, Error> {
        let options = RedisOptions { acl: Some(redis_users_for_tests()), ..RedisOptions::default() };
        Self::start_with(&Progress::stderr(), |root| Redis::start_with(root, options))
    }

    fn start_with(
        progress: &Progress,
        start_redis: impl FnOnce(&Root) -> Result<Redis, Error>,
    ) -> Result<Self, Error> {
        match Source::from_lookup(|name| std::env::var(name).ok())? {
            Source::External { redis_url, database_url, have_logins } => {
                Ok(Self { redis_url, database_url, have_logins, private: None })
            }
            Source::Private => {
                let root = Root::ensure(progress)?;
                progress.say("starting Redis and TimescaleDB");
                let redis = start_redis(&root)?;
                let postgres = Postgres::start(&root, &[])?;
                Ok(Self {
                    redis_url: redis.url(),
                    database_url: postgres.url(),
                    have_logins: true,
                    private: Some((redis, postgres)),
                })
            }
        }
    }

    /// The Redis' URL with a login; with the given one where the servers have no other.
    #[must_use]
    pub fn redis_url(&self, login: RedisLogin) -> String {
        if self.have_logins { login.of(&self.redis_url) } else { self.redis_url.clone() }
    }

    /// The database's URL with a login; with the given one, who may create databases, where the servers have no other.
    #[must_use]
    pub fn database_url(&self, login: DatabaseLogin) -> String {
        if self.have_logins { login.of(&self.database_url) } else { self.database_url.clone() }
    }

    /// What tells a test, or another command, to use these servers: variables and their values.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let logins = self.have_logins.then(|| (LOGINS_VARIABLE, COMPOSE.to_owned()));
        let urls = [
            (REDIS_URL_VARIABLE, self.redis_url.clone()),
            (DATABASE_URL_VARIABLE, self.database_url.clone()),
        ];
        urls.into_iter().chain(logins).collect()
    }

    /// Whether the servers are private to this process, so that their data are gone when it ends.
    #[must_use]
    pub fn are_private(&self) -> bool {
        self.private.is_some()
    }

    /// The command a human types to reach the database with a login, as separate arguments.
    #[must_use]
    pub fn psql_command(&self, login: DatabaseLogin) -> Vec<String> {
        match &self.private {
            Some((_, postgres)) => postgres.psql_command(login),
            None => vec!["psql".to_owned(), self.database_url(login)],
        }
    }
}
