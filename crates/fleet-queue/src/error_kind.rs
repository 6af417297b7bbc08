//! The kinds of failure.

/// The kind of a [`QueueError`](crate::QueueError): a closed list, for metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum ErrorKind {
    Url,
    Tls,
    Timeout,
    Connection,
    Topology,
    NoPrimary,
    Cluster,
    Unconfirmed,
    Oom,
    Loading,
    #[strum(serialize = "readonly")]
    ReadOnly,
    Misconf,
    Auth,
    Aborted,
    Busy,
    WrongType,
    Corrupt,
    Refused,
    Reply,
}

impl ErrorKind {
    /// All names.
    pub(crate) const NAMES: &[&'static str] = <Self as strum::VariantNames>::VARIANTS;

    /// The kind of an error code of Redis or Valkey.
    pub(crate) fn of_code(code: &str) -> Self {
        match code {
            "OOM" => Self::Oom,
            "LOADING" | "MASTERDOWN" => Self::Loading,
            // UNBLOCKED: the server has become a replica while it ran the command.
            "READONLY" | "UNBLOCKED" => Self::ReadOnly,
            "MISCONF" | "NOREPLICAS" => Self::Misconf,
            "NOAUTH" | "NOPERM" | "WRONGPASS" => Self::Auth,
            "MOVED" | "ASK" | "CLUSTERDOWN" | "TRYAGAIN" | "CROSSSLOT" => Self::Cluster,
            "EXECABORT" => Self::Aborted,
            "BUSY" => Self::Busy,
            "WRONGTYPE" => Self::WrongType,
            _ => Self::Refused,
        }
    }

    /// What an operator can do about an error that Redis replied with; appended to its text.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Oom => "; let consumers catch up, or raise maxmemory",
            Self::Loading => "; it takes commands once it has loaded its data or found its primary",
            Self::ReadOnly => "; it is a replica: FLEET_REDIS_URL must lead to the primary",
            Self::Misconf => "; see Redis' log: it cannot write its files, or lacks replicas",
            Self::Auth => {
                "; check the user, the password and the rights in FLEET_REDIS_URL against Redis' ACL"
            }
            Self::Cluster => {
                "; it is a Redis Cluster that moves the queue, has lost a primary, or needs FLEET_REDIS__TOPOLOGY=cluster"
            }
            Self::WrongType => {
                "; something else wrote to this key: see the runbook, \"A key of the wrong type\""
            }
            Self::Url | Self::Tls | Self::Timeout | Self::Connection | Self::Aborted | Self::Busy => "",
            Self::Corrupt | Self::Refused | Self::Reply | Self::Unconfirmed => "",
            Self::Topology | Self::NoPrimary => "",
        }
    }
}
