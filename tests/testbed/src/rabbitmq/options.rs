//! The logins, the vhost and the queues of a private RabbitMQ.

use std::fmt::Write;

use crate::{Error, ServerCertificate};

/// The customer's vhost.
pub(crate) const VHOST: &str = "customer";

/// The queues of [`RabbitMqOptions::of_invers`]: a quorum queue with a delivery limit of 20, and a classic durable queue.
pub const INVERS_QUEUES: [&str; 2] = ["vehicle-states", "vehicle-states-classic"];

/// How to start a private RabbitMQ.
#[derive(Debug, Clone)]
pub struct RabbitMqOptions {
    /// The server's certificate.
    pub tls: ServerCertificate,
    /// Quorum queues, with a delivery limit of 20.
    pub quorum_queues: Vec<String>,
    /// Classic queues.
    pub classic_queues: Vec<String>,
    /// How long a message may stay unacknowledged until the server closes the channel, in milliseconds.
    pub consumer_timeout_ms: u32,
}

impl RabbitMqOptions {
    /// A server with this certificate and no queues. Its time limit for acks is the usual one.
    #[must_use]
    pub fn new(tls: ServerCertificate) -> Self {
        let half_an_hour_ms = 1_800_000;
        Self {
            tls,
            quorum_queues: Vec::new(),
            classic_queues: Vec::new(),
            consumer_timeout_ms: half_an_hour_ms,
        }
    }

    /// A server with a certificate that is its own CA, a quorum queue and a classic one: [`INVERS_QUEUES`].
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] if the system gives no random numbers.
    pub fn of_invers() -> Result<Self, Error> {
        let [quorum, classic] = INVERS_QUEUES.map(|name| vec![name.to_owned()]);
        let tls = ServerCertificate::for_localhost()?;
        Ok(Self { quorum_queues: quorum, classic_queues: classic, ..Self::new(tls) })
    }

    /// The users, the vhost and the queues, as RabbitMQ imports them.
    pub(super) fn definitions(&self) -> String {
        let logins = [(AmqpLogin::Admin, "administrator"), (AmqpLogin::Consumer, "")];
        let users = logins.map(|(login, tag)| {
            let (name, password) = login.credentials();
            let tags = if tag.is_empty() { String::new() } else { format!("{tag:?}") };
            format!(r#"{{"name":"{name}","password":"{password}","tags":[{tags}],"limits":{{}}}}"#)
        });
        let permissions = logins.map(|(login, _tag)| {
            let (user, _password) = login.credentials();
            // A customer may only consume.
            let write = if login == AmqpLogin::Admin { ".*" } else { "^$" };
            format!(
                r#"{{"user":"{user}","vhost":"{VHOST}","configure":"{write}","write":"{write}","read":".*"}}"#
            )
        });
        let quorum =
            self.quorum_queues.iter().map(|name| (name, r#""x-queue-type":"quorum","x-delivery-limit":20"#));
        let classic = self.classic_queues.iter().map(|name| (name, r#""x-queue-type":"classic""#));
        let mut queues = String::new();
        for (name, arguments) in quorum.chain(classic) {
            let comma = if queues.is_empty() { "" } else { "," };
            // Writing into a string cannot fail.
            let _written = write!(
                queues,
                r#"{comma}{{"name":"{name}","vhost":"{VHOST}","durable":true,"auto_delete":false,"arguments":{{{arguments}}}}}"#
            );
        }
        format!(
            r#"{{"users":[{}],"vhosts":[{{"name":"{VHOST}"}}],"permissions":[{}],"queues":[{queues}]}}"#,
            users.join(","),
            permissions.join(",")
        )
    }
}

/// A login of a private RabbitMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmqpLogin {
    /// For publishing, setup and inspection.
    Admin,
    /// The customer's consumer, which may only read.
    Consumer,
}

impl AmqpLogin {
    /// User and password.
    #[must_use]
    pub fn credentials(self) -> (&'static str, &'static str) {
        match self {
            Self::Admin => ("fleet", "fleet"),
            Self::Consumer => ("f-FLT23-c-CNSM23A", "local-use-only-invers"),
        }
    }
}
