//! What can go wrong, and what to do about it.

use std::io;

/// The two ways to get servers where none can be started privately.
const WAYS_OUT: &str = "\
Either point FLEET_TEST_REDIS_URL and FLEET_TEST_DATABASE_URL at servers of your own (Redis 7 or newer with
maxmemory-policy noeviction; PostgreSQL 15 or newer with TimescaleDB 2.19 or newer preloaded, and a user that
may create databases), or start the project's own:
  docker compose up -d redis timescaledb
  export FLEET_TEST_REDIS_URL=redis://fleet:fleet@127.0.0.1:6379
  export FLEET_TEST_DATABASE_URL=postgres://fleet:fleet@127.0.0.1:5432/fleet
(Tests that kill and restart a server always need a private one: run them as root on Debian or Ubuntu, or in
such a container.)";

/// How to get the tools where they cannot be fetched.
const WITHOUT_TOOLS: &str = "\
kubectl and promtool come from Debian where this runs as root on Debian or Ubuntu; elsewhere, put kubectl 1.27 or newer
and promtool on the PATH. kubernetes-validate and yamllint come from PyPI: Python 3.10 or newer with its venv module.";

/// Why there is no server to test against.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of the two variables that name external servers is set, the other is not.
    #[error("{set} is set but {missing} is not: set both to use your own servers, or unset {set}")]
    OneUrlOnly {
        /// The variable that is set.
        set: &'static str,
        /// The variable that is not.
        missing: &'static str,
    },

    /// The private Debian root can neither be found nor made here.
    #[error("cannot start a private Redis and TimescaleDB here: {missing}\n{WAYS_OUT}")]
    NoRoot {
        /// What this machine lacks.
        missing: String,
    },

    /// The programs that check the Kubernetes manifests can neither be found nor fetched here.
    #[error("cannot check the Kubernetes manifests here: {missing}\n{WITHOUT_TOOLS}")]
    NoTools {
        /// What this machine lacks.
        missing: String,
    },

    /// A server of the private root did not come up.
    #[error(
        "{server} did not start: {reason}\n--- the end of its log ---\n{log_tail}\n---\nIf the private root is \
         damaged, delete {root} and run again: it is made anew."
    )]
    Start {
        /// Which server.
        server: &'static str,
        /// What was observed.
        reason: String,
        /// The last lines of the server's log.
        log_tail: String,
        /// The folder to delete for a fresh root.
        root: String,
    },

    /// A signal or a command to a running server failed.
    #[error("{server}: {reason}; start a fresh one, this one's state is unknown")]
    Control {
        /// Which server.
        server: &'static str,
        /// What was tried, and how it failed.
        reason: String,
    },

    /// The machine refused something that normally works.
    #[error("cannot {doing}: {source}; check free disk space and permissions")]
    Io {
        /// What was tried, with the path if there is one.
        doing: String,
        /// The operating system's answer.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: an I/O error that says what was tried.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
