//! Errors, with what to do about them.

use std::io;

/// What to do if no private server can be started.
const WAYS_OUT: &str = "\
Either point FLEET_TEST_REDIS_URL and FLEET_TEST_DATABASE_URL at servers of your own (Redis 7 or newer with
maxmemory-policy noeviction; PostgreSQL 15 or newer with TimescaleDB 2.19 or newer preloaded, and a user that
may create databases), or start the project's own:
  docker compose up -d redis timescaledb
  export FLEET_TEST_REDIS_URL=redis://fleet:fleet@127.0.0.1:6379
  export FLEET_TEST_DATABASE_URL=postgres://fleet:fleet@127.0.0.1:5432/fleet
(Tests that kill and restart a server always need a private one: run them as root on Debian or Ubuntu, or in
such a container.)";

/// What to do if the tools cannot be downloaded.
const WITHOUT_TOOLS: &str = "\
As root on Debian or Ubuntu, kubectl and promtool are downloaded from Debian. Elsewhere, put kubectl 1.27 or newer
and promtool on the PATH. kubernetes-validate and yamllint are installed from PyPI, which needs Python 3.10 or newer with venv.";

/// What to do if Chromium cannot be installed.
const WITHOUT_BROWSER: &str = "\
As root on Debian, Chromium and its driver are installed with apt-get. Elsewhere, put chromium and chromedriver on the
PATH.";

/// Why servers or tools are unavailable.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Only one of the two variables for external servers is set.
    #[error("{set} is set but {missing} is not: set both to use your own servers, or unset {set}")]
    OneUrlOnly {
        /// The variable that is set.
        set: &'static str,
        /// The variable that is not set.
        missing: &'static str,
    },

    /// The private Debian root does not exist and cannot be created.
    #[error("cannot start a private Redis and TimescaleDB here: {missing}\n{WAYS_OUT}")]
    NoRoot {
        /// What this machine lacks.
        missing: String,
    },

    /// The programs that check the Kubernetes manifests are missing and cannot be downloaded.
    #[error("cannot check the Kubernetes manifests here: {missing}\n{WITHOUT_TOOLS}")]
    NoTools {
        /// What this machine lacks.
        missing: String,
    },

    /// Chromium and its driver are missing and cannot be installed.
    #[error("cannot start a browser here: {missing}\n{WITHOUT_BROWSER}")]
    NoBrowser {
        /// What this machine lacks.
        missing: String,
    },

    /// A private server did not become ready.
    #[error(
        "{server} did not start: {reason}\n--- last lines of its log ---\n{log_tail}\n---\nIf the private root is \
         damaged, delete {root} and run again. It will be created again."
    )]
    Start {
        /// The name of the server.
        server: &'static str,
        /// What was observed.
        reason: String,
        /// The last lines of the server's log.
        log_tail: String,
        /// The folder of the root, to delete if it is damaged.
        root: String,
    },

    /// A signal or command to a running server failed.
    #[error("{server}: {reason}; start a new server, because the state of this one is unknown")]
    Control {
        /// The name of the server.
        server: &'static str,
        /// What was attempted, and how it failed.
        reason: String,
    },

    /// No certificate could be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),

    /// An operation failed that normally succeeds.
    #[error("cannot {doing}: {source}; check free disk space and permissions")]
    Io {
        /// What was attempted, with the path if there is one.
        doing: String,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: an I/O error with what was attempted.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
