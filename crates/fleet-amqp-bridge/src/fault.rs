//! Why there is no connection, or no consumer of a queue any more.

use std::io;
use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use strum::{IntoStaticStr, VariantArray};

/// Why a connection or a consumer ended, or could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The broker did not respond in time.
    #[error("the broker did not respond to {} within {limit:?}; check that it is reachable and not overloaded", .step.name())]
    Timeout {
        /// What it should have responded to.
        step: Step,
        /// After which time.
        limit: Duration,
    },
    /// The connection failed, or the broker closed it or the channel.
    #[error("{0}{advice}", advice = advice(.0))]
    Client(#[from] lapin::Error),
    /// The broker cancelled the consumer.
    #[error(
        "the broker cancelled the consumer, as when its queue is deleted or moved; check that the queue exists"
    )]
    Cancelled,
    /// The broker has the queue, and knows no consumer of it.
    #[error("the broker knows no consumer of the queue any more")]
    Forgotten,
    /// Messages wait at the broker, and this consumer gets none.
    #[error("messages wait at the broker, and it delivers none to this consumer")]
    Starved,
    /// The broker has closed the channel, and the reason is not known here.
    #[error("the broker closed the channel before its messages were acknowledged")]
    ChannelClosed,
    /// An ack would have gone to another connection than its message came from.
    #[error("a message of an earlier connection cannot be acknowledged on this one")]
    Stale,
    /// The connection broke while this queue's messages were being pushed.
    #[error("the connection to the broker has ended")]
    Down,
}

/// What the broker has to respond to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Connect,
    Consume,
    Check,
    Ack,
    Cancel,
    Close,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Connect => "the connection",
            Self::Consume => "the start of a consumer",
            Self::Check => "a question about the queue",
            Self::Ack => "an acknowledgement",
            Self::Cancel => "the end of a consumer",
            Self::Close => "the end of the connection",
        }
    }
}

/// The kinds of faults: a closed list, for metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Reason {
    /// No connection, or it broke.
    Connection,
    /// The TLS handshake failed.
    Tls,
    /// No response in time, or no heartbeat.
    Timeout,
    /// The broker rejected the login, the vhost or the access to a queue.
    Refused,
    /// There is no such queue.
    NotFound,
    /// Somebody else uses the queue exclusively.
    Locked,
    /// The broker closed the channel because of a precondition, such as its time limit for acks.
    Precondition,
    /// The broker closed the connection, for example because it shuts down.
    Closed,
    /// The broker cancelled the consumer, or has forgotten it.
    Cancelled,
    /// Broker and bridge do not understand each other.
    Protocol,
}

impl Fault {
    /// The kind, for metric labels.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Timeout { .. } => Reason::Timeout,
            Self::Cancelled | Self::Forgotten | Self::Starved | Self::ChannelClosed => Reason::Cancelled,
            Self::Stale => Reason::Protocol,
            Self::Down => Reason::Connection,
            Self::Client(error) => reason(error),
        }
    }

    /// Whether the broker forbids the operation.
    pub(crate) fn is_refusal(&self) -> bool {
        self.reason() == Reason::Refused
    }

    /// Whether the broker has said that it starts no consumer, so that it has delivered nothing to it.
    pub(crate) fn is_rejection(&self) -> bool {
        match self {
            Self::Client(error) => error.is_amqp_soft_error(),
            Self::Timeout { .. }
            | Self::Cancelled
            | Self::Forgotten
            | Self::Starved
            | Self::ChannelClosed
            | Self::Stale
            | Self::Down => false,
        }
    }

    /// Whether the fault concerns one queue only, if the connection is up and the broker responds on it.
    pub(crate) fn is_of_one_queue(&self) -> bool {
        match self {
            Self::Cancelled | Self::Forgotten | Self::Starved | Self::ChannelClosed => true,
            Self::Client(error) => error.is_amqp_soft_error(),
            Self::Timeout { step, .. } => match step {
                Step::Consume | Step::Check => true,
                Step::Connect | Step::Ack | Step::Cancel | Step::Close => false,
            },
            Self::Stale | Self::Down => false,
        }
    }
}

fn reason(error: &lapin::Error) -> Reason {
    if let ErrorKind::IOError(error) = error.kind() {
        return reason_of_io(error);
    }
    if let ErrorKind::MissingHeartbeatError = error.kind() {
        return Reason::Timeout;
    }
    let ErrorKind::ProtocolError(error) = error.kind() else {
        // What is left are operations on a connection that has ended.
        return Reason::Connection;
    };
    match error.kind() {
        AMQPErrorKind::Soft(soft) => match soft {
            AMQPSoftError::ACCESSREFUSED => Reason::Refused,
            AMQPSoftError::NOTFOUND => Reason::NotFound,
            AMQPSoftError::RESOURCELOCKED => Reason::Locked,
            AMQPSoftError::PRECONDITIONFAILED => Reason::Precondition,
            AMQPSoftError::CONTENTTOOLARGE | AMQPSoftError::NOROUTE | AMQPSoftError::NOCONSUMERS => {
                Reason::Protocol
            }
        },
        AMQPErrorKind::Hard(hard) => match hard {
            AMQPHardError::CONNECTIONFORCED | AMQPHardError::INTERNALERROR | AMQPHardError::RESOURCEERROR => {
                Reason::Closed
            }
            AMQPHardError::INVALIDPATH | AMQPHardError::NOTALLOWED => Reason::Refused,
            AMQPHardError::FRAMEERROR
            | AMQPHardError::SYNTAXERROR
            | AMQPHardError::COMMANDINVALID
            | AMQPHardError::CHANNELERROR
            | AMQPHardError::UNEXPECTEDFRAME
            | AMQPHardError::NOTIMPLEMENTED => Reason::Protocol,
        },
    }
}

fn reason_of_io(error: &io::Error) -> Reason {
    if fleet_tls::advice(error).is_some() {
        Reason::Tls
    } else if error.kind() == io::ErrorKind::TimedOut {
        Reason::Timeout
    } else {
        Reason::Connection
    }
}

/// What an operator can do, appended to the error's text.
fn advice(error: &lapin::Error) -> String {
    if let ErrorKind::IOError(error) = error.kind()
        && let Some(advice) = fleet_tls::advice(&**error)
    {
        return format!("; {advice}");
    }
    let advice = match reason(error) {
        Reason::Refused => {
            "; check user, password, vhost and queue names in FLEET_AMQP__URL and FLEET_AMQP__QUEUES"
        }
        Reason::NotFound => "; check FLEET_AMQP__QUEUES: the queue must exist, the bridge creates none",
        Reason::Locked => "; another program consumes the queue exclusively: stop it",
        Reason::Precondition => {
            "; if messages were unacknowledged for too long, see what keeps Redis from accepting them"
        }
        Reason::Connection | Reason::Timeout => "; check the address and the network",
        Reason::Tls | Reason::Closed | Reason::Cancelled | Reason::Protocol => "",
    };
    advice.to_owned()
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    fn protocol(kind: AMQPErrorKind) -> Fault {
        Fault::Client(ErrorKind::ProtocolError(AMQPError::new(kind, "as the broker says".into())).into())
    }

    #[test]
    fn a_fault_of_one_channel_leaves_the_connection() {
        let missing = protocol(AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND));
        assert!(missing.reason() == Reason::NotFound && missing.is_of_one_queue());
        let said = missing.to_string();
        assert!(said.contains("as the broker says") && said.contains("FLEET_AMQP__QUEUES"), "{said}");
        assert!(missing.is_rejection());
        let closed = protocol(AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED));
        assert!(closed.reason() == Reason::Closed && !closed.is_of_one_queue() && !closed.is_rejection());
        assert!(Fault::Cancelled.is_of_one_queue() && !Fault::Down.is_of_one_queue());
    }

    #[test]
    fn an_error_of_the_network_is_named_by_its_kind() {
        let io = |kind: io::ErrorKind| Fault::Client(io::Error::from(kind).into());
        assert_eq!(io(io::ErrorKind::TimedOut).reason(), Reason::Timeout);
        assert_eq!(io(io::ErrorKind::ConnectionRefused).reason(), Reason::Connection);
    }
}
