//! Free loopback ports.

use std::net::TcpListener;

use crate::Error;

/// Returns a loopback TCP port on which nothing listens now. Another process may take the port before the
/// caller does, so retry if binding fails.
///
/// # Errors
///
/// [`Error::Io`] if the machine has no free port.
pub fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(Error::io("bind a free loopback port"))?;
    let address = listener.local_addr().map_err(Error::io("read the address of a bound port"))?;
    Ok(address.port())
}
