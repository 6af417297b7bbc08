//! Starts servers from one thread that lives as long as the process.
//!
//! `PR_SET_PDEATHSIG` fires when the *thread* that spawned the child ends, not the process: spawned from a
//! test's own thread, a shared server would die with the first test that finishes.

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
        // Should the thread be refused, the receiver is dropped with the closure and `send` below fails.
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
        // The caller waits for the answer; if it is gone, so is its interest in the child.
        drop(job.reply.send(job.command.spawn()));
    }
}
