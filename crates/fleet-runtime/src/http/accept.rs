//! Accepts connections, also when the process has run out of file descriptors.

use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};

use super::cause::Cause;
use super::connections::Connections;
use super::limits::ServeLimits;
use super::socket::prepare;
use super::spare_file::SpareFile;
use crate::outage::{Failing, OutageLog, Over};

/// Pause before the next attempt if a connection cannot be accepted.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Accepts new connections.
pub(super) struct Accepting {
    listener: TcpListener,
    pub(super) spare_file: SpareFile,
    header_timeout: Duration,
    refusing: OutageLog,
}

impl Accepting {
    pub(super) fn new(listener: TcpListener, limits: ServeLimits) -> Self {
        let ServeLimits { has_spare_file, header_timeout, .. } = limits;
        let spare_file = if has_spare_file { SpareFile::open() } else { SpareFile::default() };
        Self { listener, spare_file, header_timeout, refusing: OutageLog::default() }
    }

    /// The next connection. Sweeps over the others while it waits.
    pub(super) async fn next(&mut self, connections: &mut Connections) -> TcpStream {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = connections.sweep() => continue,
            };
            match accepted {
                Ok((stream, _peer)) => {
                    self.spare_file.renew();
                    if let Some(Over { failures, lasted }) = self.refusing.succeeded(Instant::now()) {
                        tracing::info!(failures, seconds = lasted.as_secs(), "accepting connections again");
                    }
                    prepare(&stream, self.header_timeout);
                    return stream;
                }
                Err(error) => self.recover(&error, connections).await,
            }
        }
    }

    /// If there is no file descriptor left, frees the spare one, or closes connections to make room.
    async fn recover(&mut self, error: &io::Error, connections: &mut Connections) {
        if let Some(Failing { failures, lasted }) = self.refusing.failed(Instant::now(), 1) {
            let seconds = lasted.as_secs();
            tracing::warn!(
                failures,
                seconds,
                %error,
                "cannot accept connections; if this lasts, raise the limit of open files"
            );
        }
        if is_exhausted(error) {
            if self.spare_file.give_up() {
                return;
            }
            connections.make_room(Cause::Files);
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// Whether the process or the system lacks a resource that every connection needs.
fn is_exhausted(error: &io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| exhausted.contains(&errno))
}
