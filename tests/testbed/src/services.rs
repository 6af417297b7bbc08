//! The Redis and the TimescaleDB of a demo or test.

use crate::logins::redis_users_for_tests;
use crate::{DatabaseLogin, Error, Postgres, Progress, Redis, RedisLogin, RedisOptions, RedisServer, Root};

/// The variable with the URL of an external Redis. Set it together with [`DATABASE_URL_VARIABLE`].
pub const REDIS_URL_VARIABLE: &str = "FLEET_TEST_REDIS_URL";

/// The variable with the URL of an external TimescaleDB. Set it together with [`REDIS_URL_VARIABLE`].
pub const DATABASE_URL_VARIABLE: &str = "FLEET_TEST_DATABASE_URL";

/// The value `compose` states that the external servers have the logins of `docker-compose.yml`, and that
/// their Redis users may use the tests' keys. Both hold for the servers of `cargo xtask services`.
pub const LOGINS_VARIABLE: &str = "FLEET_TEST_LOGINS";

/// The only value of [`LOGINS_VARIABLE`].
const COMPOSE: &str = "compose";

/// Which servers to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Servers that already run, from the two variables.
    External {
        /// The value of `FLEET_TEST_REDIS_URL`.
        redis_url: String,
        /// The value of `FLEET_TEST_DATABASE_URL`.
        database_url: String,
        /// Whether they also have the logins of `docker-compose.yml`, from `FLEET_TEST_LOGINS`.
        have_logins: bool,
    },
    /// Private servers from the private root.
    Private,
}

impl Source {
    /// Chooses the servers by environment variables, which `lookup` reads. An empty variable counts as not
    /// set.
    ///
    /// # Errors
    ///
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

/// A Redis and a TimescaleDB. Dropping this stops private servers and removes their data. A `static` is never
/// dropped: then the servers end with the process, and the next start removes their data.
#[derive(Debug)]
pub struct Services {
    redis_url: String,
    database_url: String,
    have_logins: bool,
    private: Option<(Redis, Postgres)>,
}

impl Services {
    /// Uses the servers that the environment names. Otherwise starts private ones, exactly as shipped.
    ///
    /// # Errors
    ///
    /// [`Error::OneUrlOnly`], [`Error::NoRoot`] or [`Error::Start`]. Each tells what to do.
    pub fn start(progress: &Progress) -> Result<Self, Error> {
        Self::start_with(progress, |root| Redis::start(root, &[]))
    }

    /// Like [`Services::start`], except that a private Redis is `server`, that its users may also use the tests'
    /// keys, and that progress goes to stderr.
    ///
    /// # Errors
    ///
    /// Same as [`Services::start`].
    pub fn start_for_tests(server: RedisServer) -> Result<Self, Error> {
        let acl = Some(redis_users_for_tests());
        let options = RedisOptions { server, acl, ..RedisOptions::default() };
        Self::start_with(&Progress::stderr(), |_root| Redis::private_with(options))
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

    /// The URL of Redis with a login, or the given URL if the servers lack the logins.
    #[must_use]
    pub fn redis_url(&self, login: RedisLogin) -> String {
        if self.have_logins { login.of(&self.redis_url) } else { self.redis_url.clone() }
    }

    /// The URL of the database with a login, or the given URL, whose user may create databases, if the
    /// servers lack the logins.
    #[must_use]
    pub fn database_url(&self, login: DatabaseLogin) -> String {
        if self.have_logins { login.of(&self.database_url) } else { self.database_url.clone() }
    }

    /// Environment variables that make a test or another command use these servers.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let logins = self.have_logins.then(|| (LOGINS_VARIABLE, COMPOSE.to_owned()));
        let urls = [
            (REDIS_URL_VARIABLE, self.redis_url.clone()),
            (DATABASE_URL_VARIABLE, self.database_url.clone()),
        ];
        urls.into_iter().chain(logins).collect()
    }

    /// Whether the servers are private to this process, which means that their data is removed when it ends.
    #[must_use]
    pub fn are_private(&self) -> bool {
        self.private.is_some()
    }

    /// The command line, as separate arguments, that opens the database with a login.
    #[must_use]
    pub fn psql_command(&self, login: DatabaseLogin) -> Vec<String> {
        match &self.private {
            Some((_, postgres)) => postgres.psql_command(login),
            None => vec!["psql".to_owned(), self.database_url(login)],
        }
    }
}
