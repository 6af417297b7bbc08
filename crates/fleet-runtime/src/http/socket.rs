//! Sockets, and how much memory the kernel may use for each.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Most received bytes that the kernel buffers for a connection; it uses twice as much memory. Without this limit the buffer
/// grows to megabytes.
const RECEIVE_BUFFER_BYTES: u32 = 32 * 1024;

/// Most bytes of responses that the kernel buffers because the client has not read them; as above. For listeners whose
/// responses are small.
pub const SEND_BUFFER_BYTES: u32 = 8 * 1024;

/// Most memory for one connection, bytes: hyper's two buffers (16 KiB of headers, 8 KiB of a response), its task, and the
/// kernel's two buffers with [`SEND_BUFFER_BYTES`].
pub const CONNECTION_BYTES: u64 = (32 << 10) + 2 * (RECEIVE_BUFFER_BYTES as u64 + SEND_BUFFER_BYTES as u64);

/// Listens on `address`. Up to `backlog` connections wait in the kernel until they are accepted, or as many as
/// `net.core.somaxconn` allows if that is less. The kernel buffers up to `send_buffer_bytes` of responses for each connection.
///
/// # Errors
///
/// If the address cannot be used.
pub fn listen(address: SocketAddr, backlog: u32, send_buffer_bytes: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of the previous process may still be closing.
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit both sizes.
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_send_buffer_size(send_buffer_bytes)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

/// Prepares an accepted connection.
pub(super) fn prepare(stream: &TcpStream, header_timeout: Duration) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    // hyper does not notice a client that reads no responses: it stops reading from it. The kernel has to close it.
    let unread_ms = u32::try_from(header_timeout.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = set_tcp_user_timeout(stream, unread_ms) {
        tracing::debug!(%error, "cannot set TCP_USER_TIMEOUT");
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::{socket_recv_buffer_size, socket_send_buffer_size};

    use super::*;

    /// The kernel grants a connection what [`CONNECTION_BYTES`] counts for it.
    #[tokio::test]
    async fn a_connection_has_the_kernels_buffers_that_are_counted() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), 16, SEND_BUFFER_BYTES).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _address) = listener.accept().await.unwrap();
        let buffers = [socket_recv_buffer_size(&stream).unwrap(), socket_send_buffer_size(&stream).unwrap()];
        assert_eq!(buffers, [64 * 1024, 16 * 1024]);
        assert_eq!(CONNECTION_BYTES, (32 + 64 + 16) * 1024);
    }
}
