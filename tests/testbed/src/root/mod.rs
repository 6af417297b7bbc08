//! The private Debian roots that the servers run from, and the tools.

mod build;
mod cache;
mod once;
mod python;
mod tools;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use tools::{Tools, schemathesis};

use self::build::Recipe;
pub(crate) use self::build::{apt_get_install as install, on_path};
use crate::{Error, Progress};

/// The root with Redis and TimescaleDB.
const SERVERS: Recipe = Recipe {
    name: "trixie-1",
    suite: "trixie",
    variant: "minbase",
    packages: "postgresql-17-timescaledb,redis-server",
    left_out: &[],
    announcement: "creating a private Debian root with Redis and TimescaleDB (once; about 20 s and 540 MB)",
};

/// The root with Valkey, which only tests of the queue use.
const VALKEY: Recipe = Recipe {
    name: "trixie-valkey-1",
    suite: "trixie",
    variant: "minbase",
    packages: "valkey-server",
    left_out: &[],
    announcement: "creating a private Debian root with Valkey (once; about 12 s and 140 MB)",
};

/// The root with the oldest supported Redis, which only tests use.
const REDIS_7: Recipe = Recipe {
    name: "bookworm-redis-1",
    suite: "bookworm",
    variant: "minbase",
    packages: "redis-server",
    left_out: &[],
    announcement: "creating a private Debian root with Redis 7.0 (once; about 12 s and 140 MB)",
};

/// The root with PgBouncer, which only its own tests use.
const POOLER: Recipe = Recipe {
    name: "trixie-pgbouncer-1",
    suite: "trixie",
    variant: "minbase",
    packages: "pgbouncer",
    left_out: &[],
    announcement: "creating a private Debian root with PgBouncer (once; about 20 s and 200 MB)",
};

/// The root with RabbitMQ, which only the bridge from AMQP needs.
const RABBITMQ: Recipe = Recipe {
    name: "trixie-rabbitmq-1",
    suite: "trixie",
    variant: "minbase",
    packages: "rabbitmq-server",
    left_out: &[],
    announcement: "creating a private Debian root with RabbitMQ (once; about 15 s and 240 MB)",
};

/// The folder of PostgreSQL's programs inside the root.
pub(crate) const POSTGRES_BIN: &str = "/usr/lib/postgresql/17/bin";

/// The search path for all commands. The user's PATH may lack /usr/sbin, where some systems keep chroot.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An unprivileged user of the root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A complete private Debian root: of Redis and TimescaleDB, of Valkey, of Redis 7.0, of PgBouncer, or of RabbitMQ.
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// The root in the user's cache folder. Creates it if it does not exist (20 s, 540 MB). If several
    /// processes need it at the same time, one of them creates it.
    ///
    /// # Errors
    ///
    /// [`Error::NoRoot`] if it cannot be created or used.
    pub fn ensure(progress: &Progress) -> Result<Self, Error> {
        Self::of(&SERVERS, progress)
    }

    /// The root of Valkey. Creates it if it does not exist (12 s, 140 MB).
    ///
    /// # Errors
    ///
    /// [`Error::NoRoot`] if it cannot be created or used.
    pub fn valkey(progress: &Progress) -> Result<Self, Error> {
        Self::of(&VALKEY, progress)
    }

    /// The root of Redis 7.0. Creates it if it does not exist (12 s, 140 MB).
    ///
    /// # Errors
    ///
    /// [`Error::NoRoot`] if it cannot be created or used.
    pub fn redis_7(progress: &Progress) -> Result<Self, Error> {
        Self::of(&REDIS_7, progress)
    }

    /// The root of PgBouncer.
    pub(crate) fn with_pooler(progress: &Progress) -> Result<Self, Error> {
        Self::of(&POOLER, progress)
    }

    /// The root of RabbitMQ.
    pub(crate) fn with_rabbitmq(progress: &Progress) -> Result<Self, Error> {
        Self::of(&RABBITMQ, progress)
    }

    fn of(recipe: &Recipe, progress: &Progress) -> Result<Self, Error> {
        build::require_supported_system()?;
        let cache = cache::folder(|name| std::env::var(name).ok())?;
        Ok(Self { path: build::ensure(&cache, recipe, progress)? })
    }

    /// The root's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path outside of the root of what is at `inside` in the root.
    pub(crate) fn host_path(&self, inside: &str) -> PathBuf {
        self.path.join(inside.trim_start_matches('/'))
    }

    /// The user and group id of a user of the root.
    pub(crate) fn account(&self, user: &str) -> Result<Account, Error> {
        let file = self.host_path("/etc/passwd");
        let text = fs::read_to_string(&file).map_err(Error::io(format!("read {}", file.display())))?;
        find_account(&text, user).ok_or_else(|| Error::NoRoot {
            missing: format!("{} has no user {user}; delete {}", file.display(), self.path.display()),
        })
    }

    /// A command that runs `argv` inside the root as `account`, with an empty environment, without stdin, and
    /// in its own process group, so that Ctrl-C reaches it only through its owner.
    pub(crate) fn command_as(
        &self,
        account: Account,
        parent_death_signal: Option<&str>,
        argv: &[String],
    ) -> Command {
        let mut command = Command::new("chroot");
        command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8");
        command.stdin(Stdio::null()).process_group(0);
        command.arg(&self.path).arg("setpriv");
        if let Some(signal) = parent_death_signal {
            command.args(["--pdeathsig", signal]);
        }
        command.args(["--reuid", &account.uid.to_string(), "--regid", &account.gid.to_string()]);
        command.args(["--clear-groups", "--"]).args(argv);
        command
    }
}

fn find_account(passwd: &str, user: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(user) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::find_account;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd = "redis-sentinel:x:7:8::/:/bin/sh\nredis:x:100:102::/var/lib/redis:/usr/sbin/nologin\n";
        let account = find_account(passwd, "redis").unwrap();
        assert_eq!((account.uid, account.gid), (100, 102));
        assert!(find_account(passwd, "postgres").is_none());
    }
}
