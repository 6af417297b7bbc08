//! The TCP connection to the broker, with TLS, and the means to end it.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapin::runtime::default_runtime;
use lapin::tcp::AsyncTcpStream;
use lapin::{Connection, ConnectionProperties};
use tokio::time::timeout;

use crate::bridge_settings::Broker;
use crate::fault::{Fault, Step};

/// A second handle of a connection's socket. lapin reads on a thread of its own, which waits for ever on a broker that swallows
/// packets. The thread ends when the socket is shut down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Socket(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    stream: Option<TcpStream>,
    is_shut: bool,
}

impl Socket {
    /// Keeps a handle of this socket.
    fn keep(&self, socket: &impl AsFd) -> io::Result<()> {
        let stream = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        let mut state = self.lock();
        // The connection was given up while it was opened.
        if state.is_shut {
            return stream.shutdown(Shutdown::Both);
        }
        state.stream = Some(stream);
        Ok(())
    }

    /// Ends the connection at once.
    pub(crate) fn shut_down(&self) {
        let mut state = self.lock();
        state.is_shut = true;
        if let Some(stream) = state.stream.take() {
            // Fails if the broker has closed it, which is fine.
            let _closed_already = stream.shutdown(Shutdown::Both);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Both fields are consistent between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects and logs in. `socket` ends the connection.
///
/// # Errors
///
/// [`Fault`] says why there is no connection.
pub(crate) async fn connect(broker: &Broker, socket: &Socket) -> Result<Connection, Fault> {
    let (tls, limit, kept) = (broker.tls.clone(), broker.timeout, socket.clone());
    let properties = ConnectionProperties::default().with_connection_name("fleet-amqp-bridge".into());
    let opening = Connection::connector(
        broker.uri.clone(),
        default_runtime()?,
        async move |uri, runtime| {
            let host = uri.authority.host.clone();
            let dialled = async {
                let addresses = runtime.to_socket_addrs((host.clone(), uri.authority.port));
                let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
                if let AsyncTcpStream::Plain(plain) = &stream {
                    kept.keep(plain.get_ref())?;
                }
                match &tls {
                    Some(connector) => stream.into_rustls(connector, &host).await,
                    None => Ok(stream),
                }
            };
            // It goes on if the caller is gone.
            let dialled = timeout(limit, dialled).await;
            dialled.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into())).map_err(lapin::Error::from)
        },
        properties,
    );
    match timeout(limit, opening).await {
        Ok(opened) => Ok(opened?),
        Err(_late) => Err(Fault::Timeout { step: Step::Connect, limit }),
    }
}
