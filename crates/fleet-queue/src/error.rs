//! Failures of queue operations.

use std::time::Duration;

use fleet_tls::TlsError;

use crate::broken::BrokenKey;
use crate::confirmation::Confirmation;
use crate::error_kind::ErrorKind;
use crate::report::Departure;
use crate::topology::Topology;

/// Why a queue operation failed. After [`QueueError::Timeout`] and [`QueueError::Connection`] it is unknown whether Redis ran
/// the operation.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The options can never work. One line for each problem, beginning with the variable's name.
    #[error("{0}")]
    Url(String),
    /// The CAs for checking the server's certificate cannot be read.
    #[error(transparent)]
    Trust(#[from] TlsError),
    /// The TLS handshake failed, for example because the server's certificate is not valid.
    #[error("the TLS connection to Redis failed: {0}")]
    Tls(String),
    /// Redis did not reply in time.
    #[error("Redis did not reply within {0:?}; check that it is reachable and not overloaded")]
    Timeout(Duration),
    /// The connection could not be opened, or broke.
    #[error("the connection to Redis failed: {0}; check the address, the network and the credentials")]
    Connection(String),
    /// Redis replied with an error such as OOM, LOADING, READONLY or MISCONF. It did not run the operation.
    #[error("Redis refused: {message}{}", ErrorKind::of_code(.code).advice())]
    Refused {
        /// The error's code: its first word on the wire.
        code: String,
        /// The error's text.
        message: String,
    },
    /// The server does not belong to the configured topology.
    #[error(
        "the server at FLEET_REDIS_URL {found}; set FLEET_REDIS__TOPOLOGY={}, or FLEET_REDIS_URL to another server",
        .needs.name()
    )]
    WrongTopology {
        /// What the server is.
        found: &'static str,
        /// The topology that it belongs to.
        needs: Topology,
    },
    /// No server is known to be the primary, as during a failover. Nothing was sent.
    #[error("found no primary of Redis: {0}")]
    NoPrimary(String),
    /// Too few replicas confirm writes. [`Producer::push_batch`](crate::Producer::push_batch) has pushed nothing then.
    #[error(
        "of {} replicas that must confirm (FLEET_QUEUE__REPLICAS), {} received a write and {} stored it on disk; check that the \
         replicas run, are connected to the primary and have appendonly yes, or set FLEET_QUEUE__REPLICAS to their number",
        .0.wanted, .0.received, .0.on_replicas
    )]
    Unconfirmed(Confirmation),
    /// Another program has overwritten a key of the queue. Redis may have run commands that do not need this key.
    #[error("{0}")]
    Broken(BrokenKey),
    /// This version does not understand the reply.
    #[error(
        "Redis' reply makes no sense: {0}; is another version of this software writing to the same keys?"
    )]
    Reply(String),
}

impl QueueError {
    /// All names that [`QueueError::kind`] returns.
    pub const KINDS: &[&'static str] = ErrorKind::NAMES;

    /// A short name from [`QueueError::KINDS`], for metric labels.
    pub fn kind(&self) -> &'static str {
        self.error_kind().into()
    }

    fn error_kind(&self) -> ErrorKind {
        match self {
            Self::Url(_) | Self::Trust(_) => ErrorKind::Url,
            Self::Tls(_) => ErrorKind::Tls,
            Self::Timeout(_) => ErrorKind::Timeout,
            Self::Connection(_) => ErrorKind::Connection,
            Self::WrongTopology { .. } => ErrorKind::Topology,
            Self::NoPrimary(_) => ErrorKind::NoPrimary,
            Self::Unconfirmed(_) => ErrorKind::Unconfirmed,
            Self::Refused { code, .. } => ErrorKind::of_code(code),
            Self::Broken(broken) => broken.error_kind(),
            Self::Reply(_) => ErrorKind::Reply,
        }
    }

    /// Whether neither a retry nor a new connection can help, because the settings name a server that this version cannot use.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Url(_) | Self::Trust(_) | Self::WrongTopology { .. })
    }

    /// Whether another program has overwritten a key of the queue. Every operation that needs this key fails until an operator
    /// repairs it.
    pub fn is_broken_key(&self) -> bool {
        matches!(self.error_kind(), ErrorKind::WrongType | ErrorKind::Corrupt)
    }

    /// Whether the reply to a claim or a takeover can never be used: this version cannot read it, or another program overwrote a
    /// key. The batch must not keep the consumer from the batches behind it.
    pub fn is_unusable_batch(&self) -> bool {
        matches!(self, Self::Reply(_)) || self.is_broken_key()
    }

    /// Whether it may be over in a moment, as during a failover.
    pub fn is_temporary(&self) -> bool {
        match self.error_kind() {
            ErrorKind::Timeout
            | ErrorKind::Connection
            | ErrorKind::NoPrimary
            | ErrorKind::Cluster
            | ErrorKind::Unconfirmed
            | ErrorKind::Loading
            | ErrorKind::ReadOnly => true,
            ErrorKind::Url
            | ErrorKind::Tls
            | ErrorKind::Topology
            | ErrorKind::Oom
            | ErrorKind::Misconf
            | ErrorKind::Auth
            | ErrorKind::Aborted
            | ErrorKind::Busy
            | ErrorKind::WrongType
            | ErrorKind::Corrupt
            | ErrorKind::Refused
            | ErrorKind::Reply => false,
        }
    }

    /// Whether the user may not run the command.
    pub(crate) fn is_missing_permission(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "NOPERM")
    }

    /// The same error, with the name of the key.
    pub(crate) fn on(self, key: &str, expected: &'static str) -> Self {
        if self.is_broken_key() && !matches!(self, Self::Broken(_)) {
            return Self::Broken(BrokenKey::Type { key: key.to_owned(), expected, found: None });
        }
        self
    }

    /// Whether the connection must not be used again: its replies may be out of step, or its server is not the primary.
    pub(crate) fn breaks_connection(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Connection(_) | Self::Tls(_) => true,
            Self::WrongTopology { .. } | Self::NoPrimary(_) => true,
            // The server may be a primary that nobody else takes for one any more.
            Self::Unconfirmed(_) => true,
            // A connection keeps its login and its server. A new connection to the same address may reach another server.
            // An EXECABORT without a cause means that the server's role changed during the transaction.
            Self::Refused { .. } => matches!(
                self.error_kind(),
                ErrorKind::Auth
                    | ErrorKind::ReadOnly
                    | ErrorKind::Loading
                    | ErrorKind::Cluster
                    | ErrorKind::Aborted
            ),
            Self::Url(_) | Self::Trust(_) | Self::Broken(_) | Self::Reply(_) => false,
        }
    }

    /// Whether an operator must correct a login or a certificate.
    pub(crate) fn needs_other_credentials(&self) -> bool {
        matches!(self.error_kind(), ErrorKind::Auth | ErrorKind::Tls)
    }

    /// Why a link leaves its server after this error.
    pub(crate) fn departure(&self) -> Departure {
        match self.error_kind() {
            ErrorKind::Timeout => Departure::Timeout,
            ErrorKind::ReadOnly | ErrorKind::Aborted => Departure::Demoted,
            ErrorKind::Loading => Departure::Loading,
            ErrorKind::Cluster | ErrorKind::Topology | ErrorKind::NoPrimary => Departure::Cluster,
            ErrorKind::Auth => Departure::Login,
            ErrorKind::Unconfirmed => Departure::Unconfirmed,
            ErrorKind::Url | ErrorKind::Tls | ErrorKind::Connection | ErrorKind::Reply => {
                Departure::Connection
            }
            // These do not break a connection.
            ErrorKind::Oom | ErrorKind::Misconf | ErrorKind::Busy | ErrorKind::WrongType => {
                Departure::Connection
            }
            ErrorKind::Corrupt | ErrorKind::Refused => Departure::Connection,
        }
    }

    /// Whether a retry on a new connection may succeed at once. Not after a timeout: what delayed this reply would delay the
    /// next one too.
    pub(crate) fn is_cured_by_new_connection(&self) -> bool {
        let is_final = matches!(
            self,
            Self::Timeout(_) | Self::WrongTopology { .. } | Self::NoPrimary(_) | Self::Unconfirmed(_)
        );
        self.breaks_connection() && !is_final
    }
}

impl From<redis::RedisError> for QueueError {
    fn from(error: redis::RedisError) -> Self {
        if let Some(code) = server_code(&error) {
            return Self::Refused { code, message: error.to_string() };
        }
        if let Some(advice) = fleet_tls::advice(&error) {
            return Self::Tls(format!("{error}; {advice}"));
        }
        let shape = [redis::ErrorKind::UnexpectedReturnType, redis::ErrorKind::Parse];
        if shape.contains(&error.kind()) {
            return Self::Reply(error.to_string());
        }
        Self::Connection(error.to_string())
    }
}

/// The code of the first error that the server replied with.
fn server_code(error: &redis::RedisError) -> Option<String> {
    // The crate `redis` does not keep the code of a refused AUTH.
    if error.kind() == redis::ErrorKind::AuthenticationFailed {
        return Some("WRONGPASS".to_owned());
    }
    let errors = error.clone().into_server_errors()?;
    errors.first().map(|(_index, error)| error.code().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_the_list() {
        let codes = [
            "OOM",
            "LOADING",
            "READONLY",
            "MISCONF",
            "NOAUTH",
            "MOVED",
            "EXECABORT",
            "BUSY",
            "WRONGTYPE",
            "ERR",
        ];
        let refused = codes.map(|code| QueueError::Refused { code: code.to_owned(), message: String::new() });
        let others = [
            QueueError::Url(String::new()),
            QueueError::Tls(String::new()),
            QueueError::Timeout(Duration::ZERO),
            QueueError::Connection(String::new()),
            QueueError::WrongTopology { found: "", needs: Topology::Cluster },
            QueueError::NoPrimary(String::new()),
            QueueError::Unconfirmed(Confirmation { wanted: 1, received: 0, on_primary: 1, on_replicas: 0 }),
            QueueError::Broken(BrokenKey::Counters { key: String::new(), why: String::new() }),
            QueueError::Reply(String::new()),
        ];
        let kinds: std::collections::BTreeSet<_> =
            refused.iter().chain(&others).map(QueueError::kind).collect();
        assert_eq!(kinds, QueueError::KINDS.iter().copied().collect());
    }
}
