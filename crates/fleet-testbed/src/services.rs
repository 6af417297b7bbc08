//! The pair every demo and test needs.

use crate::{Error, Postgres, Progress, Redis, Root};

/// Names a Redis of one's own; to be set together with [`DATABASE_URL_VARIABLE`].
pub const REDIS_URL_VARIABLE: &str = "FLEET_TEST_REDIS_URL";

/// Names a TimescaleDB of one's own; to be set together with [`REDIS_URL_VARIABLE`].
pub const DATABASE_URL_VARIABLE: &str = "FLEET_TEST_DATABASE_URL";

/// Where the servers come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Servers that run already, named by the two variables.
    External {
        /// `FLEET_TEST_REDIS_URL`.
        redis_url: String,
        /// `FLEET_TEST_DATABASE_URL`.
        database_url: String,
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
            (Some(redis_url), Some(database_url)) => Ok(Self::External { redis_url, database_url }),
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
    private: Option<(Redis, Postgres)>,
}

impl Services {
    /// The servers the environment names, else private ones, with progress on stderr.
    ///
    /// # Errors
    /// [`Error::OneUrlOnly`], [`Error::NoRoot`] or [`Error::Start`], each saying what to do.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(&Progress::stderr())
    }

    /// As [`Services::start`], with progress where the caller wants it.
    ///
    /// # Errors
    /// As [`Services::start`].
    pub fn start_with(progress: &Progress) -> Result<Self, Error> {
        match Source::from_lookup(|name| std::env::var(name).ok())? {
            Source::External { redis_url, database_url } => {
                Ok(Self { redis_url, database_url, private: None })
            }
            Source::Private => {
                let root = Root::ensure(progress)?;
                progress.say("starting Redis and TimescaleDB");
                let redis = Redis::start(&root, &[])?;
                let postgres = Postgres::start(&root, &[])?;
                Ok(Self {
                    redis_url: redis.url(),
                    database_url: postgres.url(),
                    private: Some((redis, postgres)),
                })
            }
        }
    }

    /// The Redis' URL.
    #[must_use]
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// The database's URL; its user may create databases.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Whether the servers are private to this process, so that their data are gone when it ends.
    #[must_use]
    pub fn are_private(&self) -> bool {
        self.private.is_some()
    }

    /// The command a human types to reach the database, as separate arguments.
    #[must_use]
    pub fn psql_command(&self) -> Vec<String> {
        match &self.private {
            Some((_, postgres)) => postgres.psql_command(),
            None => vec!["psql".to_owned(), self.database_url.clone()],
        }
    }
}
