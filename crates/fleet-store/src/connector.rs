//! Which connections a pool opens, and which idle ones may be used again.

use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::StoreError;
use crate::connection::Connection;
use crate::hosts::Hosts;

/// Opens the connections of one pool.
pub(crate) struct Connector {
    pub(crate) hosts: Hosts,
    pub(crate) tls: MakeRustlsConnect,
    /// The longest `statement_timeout` that a session may have.
    pub(crate) longest_statement: Duration,
}

impl Manager for Connector {
    type Type = Connection;
    type Error = StoreError;

    async fn create(&self) -> Result<Connection, StoreError> {
        // Boxed, because otherwise the future of every statement would reserve space for a whole handshake.
        let (connection, session) = Box::pin(self.hosts.connect(&self.tls)).await?;
        session.check(self.longest_statement)?;
        Ok(connection)
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<StoreError> {
        // A server or a load balancer may close an idle connection at any time. The pool then opens another one.
        if connection.client.is_closed() {
            Err(RecycleError::message("closed while it was idle"))
        } else if !self.hosts.is_current(connection.host) {
            Err(RecycleError::message("another host is the primary now"))
        } else {
            Ok(())
        }
    }
}
