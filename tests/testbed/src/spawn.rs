//! Starts servers from a thread that lives as long as the process.
//!
//! The kernel sends the signal of `PR_SET_PDEATHSIG` when the *thread* that spawned the child ends, not the
//! process. If a test's own thread spawned a shared server, the server would end with that test.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

struct Job {
    command: Command,
    reply: SyncSender<io::Result<Child>>,
}

/// Spawns `command` from the long-lived thread.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static JOBS: OnceLock<SyncSender<Job>> = OnceLock::new();
    let jobs = JOBS.get_or_init(|| {
        let (sender, receiver) = sync_channel(1);
        // If the thread cannot be started, the receiver is dropped with the closure, and `send` below fails.
        drop(thread::Builder::new().name("testbed-spawn".to_owned()).spawn(move || serve(&receiver)));
        sender
    });
    let (reply, answer) = sync_channel(1);
    let gone = |_| io::Error::other("the testbed's spawning thread could not be started");
    jobs.send(Job { command, reply }).map_err(|error| gone(error.to_string()))?;
    answer.recv().map_err(|error| gone(error.to_string()))?
}

fn serve(jobs: &Receiver<Job>) {
    for mut job in jobs {
        // Fails only if the caller no longer waits for the child.
        drop(job.reply.send(job.command.spawn()));
    }
}
