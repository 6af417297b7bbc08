//! What can go wrong between this process and Redis.

use std::time::Duration;

use fleet_tls::TlsError;

/// Why a queue operation failed. After [`QueueError::Timeout`] and [`QueueError::Connection`] it is unknown whether
/// Redis carried it out; every operation may be repeated.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The URL does not name a Redis server.
    #[error(
        "the Redis URL is not valid ({0}); use redis://[user:password@]host:port[/db], or rediss:// for TLS"
    )]
    Url(String),
    /// There is nothing to check the server's certificate with.
    #[error(transparent)]
    Trust(#[from] TlsError),
    /// Server and client could not agree on TLS, or the server's certificate is not good.
    #[error("the TLS connection to Redis failed: {0}")]
    Tls(String),
    /// No reply in time.
    #[error("Redis did not reply within {0:?}; check that it is reachable and not overloaded")]
    Timeout(Duration),
    /// The connection could not be made or broke.
    #[error("the connection to Redis failed: {0}; check the address, the network and the credentials")]
    Connection(String),
    /// Redis replied with an error such as OOM, LOADING, READONLY or MISCONF.
    #[error("Redis refused: {message}")]
    Refused {
        /// The error's first word.
        code: String,
        /// The error as Redis words it.
        message: String,
    },
    /// The reply is not what this version expects.
    #[error(
        "Redis' reply makes no sense: {0}; is another version of this software writing to the same keys?"
    )]
    Reply(String),
}

impl QueueError {
    /// Every [`QueueError::kind`] there is.
    pub const KINDS: [&str; 11] = [
        "url",
        "tls",
        "timeout",
        "connection",
        "oom",
        "loading",
        "readonly",
        "misconf",
        "auth",
        "refused",
        "reply",
    ];

    /// A short name from [`QueueError::KINDS`], for metric labels.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Url(_) | Self::Trust(_) => "url",
            Self::Tls(_) => "tls",
            Self::Timeout(_) => "timeout",
            Self::Connection(_) => "connection",
            Self::Refused { code, .. } => match code.as_str() {
                "OOM" => "oom",
                "LOADING" => "loading",
                "READONLY" => "readonly",
                "MISCONF" => "misconf",
                "NOAUTH" | "NOPERM" | "WRONGPASS" => "auth",
                _ => "refused",
            },
            Self::Reply(_) => "reply",
        }
    }

    /// The connection may be out of step with Redis and must not be used again.
    pub(crate) fn breaks_connection(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Connection(_) | Self::Tls(_) => true,
            // A server error leaves the connection in step, except that a failed AUTH or a replica's role
            // sticks to it.
            Self::Refused { .. } => matches!(self.kind(), "auth" | "readonly"),
            Self::Url(_) | Self::Trust(_) | Self::Reply(_) => false,
        }
    }
}

impl From<redis::RedisError> for QueueError {
    fn from(error: redis::RedisError) -> Self {
        if let Some(code) = error.code() {
            return Self::Refused {
                code: transaction_cause(&error).unwrap_or_else(|| code.to_owned()),
                message: error.to_string(),
            };
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

/// MULTI answers EXECABORT; why stands in the error of the command that was refused.
fn transaction_cause(error: &redis::RedisError) -> Option<String> {
    const CAUSES: [&str; 4] = ["OOM", "MISCONF", "READONLY", "LOADING"];
    let text = error.to_string();
    (error.code() == Some("EXECABORT")).then(|| {
        let cause = CAUSES.into_iter().find(|cause| text.contains(cause));
        cause.unwrap_or("EXECABORT").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_the_list() {
        let codes = ["OOM", "LOADING", "READONLY", "MISCONF", "NOAUTH", "NOPERM", "WRONGPASS", "BUSY"];
        let refused = codes.map(|code| QueueError::Refused { code: code.to_owned(), message: String::new() });
        let others = [
            QueueError::Url(String::new()),
            QueueError::Tls(String::new()),
            QueueError::Timeout(Duration::ZERO),
            QueueError::Connection(String::new()),
            QueueError::Reply(String::new()),
        ];
        let kinds: std::collections::BTreeSet<_> =
            refused.iter().chain(&others).map(QueueError::kind).collect();
        assert_eq!(kinds, QueueError::KINDS.into());
    }
}
