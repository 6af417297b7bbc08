//! Finding the messages of a batch that end whoever parses them.
//!
//! That a consumer died while it parsed a batch proves nothing: the kernel kills for memory, and people and orchestrators kill
//! for their own reasons. So each message is parsed in a child, whose end can be seen: only an end that a program brings about
//! by itself convicts a message.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use fleet_providers::{Limits, Provider};
use fleet_queue::Lease;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::batch::parse::Rejection;
use crate::isolate::child::{ALLOCATE_ON_DEMAND, COMMAND, MOST_BYTES, MOST_CPU, PARSED};

/// How long a child may take to start.
const START_WITHIN: Duration = Duration::from_secs(30);

/// How long it may take for one message, on however busy a machine. Its processor time is limited by itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// How long a child whose pipes are closed may take to end.
const END_WITHIN: Duration = Duration::from_secs(10);

/// The first pause after a child's end that says nothing; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How often a message is tried at a time that cannot be judged.
const MAX_TRIES: u32 = 3;

/// Signals that a program brings upon itself, besides SIGXCPU and SIGABRT.
const OWN_SIGNALS: [(Signal, &str); 6] = [
    (Signal::SEGV, "SIGSEGV"),
    (Signal::BUS, "SIGBUS"),
    (Signal::ILL, "SIGILL"),
    (Signal::FPE, "SIGFPE"),
    (Signal::TRAP, "SIGTRAP"),
    (Signal::SYS, "SIGSYS"),
];

/// Judges messages, for all the queues of this process.
#[derive(Debug)]
pub(crate) struct IsolatedParser {
    program: PathBuf,
    /// One child at a time: each takes memory.
    turn: Mutex<()>,
}

/// What a message did to the child that parsed it.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Parsed,
    /// It ended the child, in this way.
    Guilty(String),
    /// The child has ended, or has never been there, and no message is to blame.
    Undecided(String),
}

/// A child that is ready for messages; killed with the value.
struct Running {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl IsolatedParser {
    /// `program` is `fleet-consumer`.
    pub(crate) fn new(program: PathBuf) -> Self {
        Self { program, turn: Mutex::new(()) }
    }

    /// The messages of a batch that end whoever parses them, by their index. `None`: one of its messages cannot be judged now;
    /// the batch is whole for the next owner.
    pub(crate) async fn poison_messages(
        &self,
        provider: &'static Provider,
        limits: &Limits,
        lease: &Lease,
    ) -> Option<BTreeMap<usize, Rejection>> {
        tracing::warn!(
            queue = provider.slug, lease_id = %lease.id, takeovers = lease.takeovers,
            "consumers ended while they parsed this batch: parsing its messages one by one in a child process"
        );
        let mut poison_messages = BTreeMap::new();
        let (mut index, mut tries, mut pause) = (0, 0, FIRST_PAUSE);
        loop {
            let before = index;
            let turn = self.turn.lock().await;
            let judged = self.judge(provider, limits, lease, &mut index, &mut poison_messages).await;
            drop(turn);
            let Err(problem) = judged else { return Some(poison_messages) };
            if index > before {
                (tries, pause) = (0, FIRST_PAUSE);
            }
            tries += 1;
            tracing::warn!(
                queue = provider.slug, lease_id = %lease.id, index, tries, problem,
                "a message could not be judged: its batch stays leased, and nothing is lost"
            );
            if tries == MAX_TRIES {
                return None;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// Judges the messages from `index` on, up to one that cannot be judged: the error says why.
    async fn judge(
        &self,
        provider: &'static Provider,
        limits: &Limits,
        lease: &Lease,
        index: &mut usize,
        poison_messages: &mut BTreeMap<usize, Rejection>,
    ) -> Result<(), String> {
        let mut running = None;
        while let Some(item) = lease.items.get(*index) {
            let mut child = match running.take() {
                Some(child) => child,
                None => self.start(provider, limits).await?,
            };
            match child.parse(item).await {
                Verdict::Parsed => running = Some(child),
                Verdict::Guilty(how) => {
                    poison_messages.insert(*index, Rejection::crashed(&how));
                }
                Verdict::Undecided(problem) => return Err(problem),
            }
            *index += 1;
        }
        Ok(())
    }

    async fn start(&self, provider: &'static Provider, limits: &Limits) -> Result<Running, String> {
        let mut command = Command::new(&self.program);
        command.arg(COMMAND).arg(provider.slug).arg(limits.max_age.as_secs().to_string());
        // A panic's message may quote what was sent, so nothing of it goes to the log.
        let (name, value) = ALLOCATE_ON_DEMAND;
        command
            .env_clear()
            .env(name, value)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let failed = |error: io::Error| format!("cannot start a child process: {error}");
        let mut child = command.kill_on_drop(true).spawn().map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a child process has no pipes".to_owned());
        };
        let mut running = Running { child, input, output };
        match timeout(START_WITHIN, running.answer()).await {
            Ok(Ok(())) => Ok(running),
            Ok(Err(error)) => {
                // Not left to the runtime, which lets it be a zombie for a while.
                let _gone = running.child.kill().await;
                Err(format!("a child process ended before it was ready: {error}"))
            }
            Err(_elapsed) => Err("a child process is not ready in time".to_owned()),
        }
    }
}

impl Running {
    async fn parse(&mut self, item: &[u8]) -> Verdict {
        match timeout(ANSWER_WITHIN, self.exchange(item)).await {
            Ok(Ok(())) => Verdict::Parsed,
            Err(_elapsed) => Verdict::Undecided("the child process does not answer in time".to_owned()),
            Ok(Err(error)) => match timeout(END_WITHIN, self.child.wait()).await {
                Ok(Ok(status)) => verdict(status),
                Ok(Err(_)) | Err(_) => {
                    Verdict::Undecided(format!("the child process does not answer: {error}"))
                }
            },
        }
    }

    async fn exchange(&mut self, item: &[u8]) -> io::Result<()> {
        let length = u32::try_from(item.len()).map_err(io::Error::other)?;
        self.input.write_all(&length.to_le_bytes()).await?;
        self.input.write_all(item).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> io::Result<()> {
        match self.output.read_u8().await? {
            PARSED => Ok(()),
            other => Err(io::Error::other(format!("it answered {other}; is it another program?"))),
        }
    }
}

/// What the end of a child says about the message that it was parsing.
fn verdict(status: ExitStatus) -> Verdict {
    let Some(signal) = status.signal() else {
        return match status.code() {
            Some(code) if code != 0 => Verdict::Guilty(format!("its child process ended with status {code}")),
            Some(_) | None => Verdict::Undecided("the child process ended".to_owned()),
        };
    };
    if signal == Signal::XCPU.as_raw() {
        let seconds = MOST_CPU.as_secs();
        return Verdict::Guilty(format!("it takes more than {seconds} s of processor time"));
    }
    if signal == Signal::ABORT.as_raw() {
        let mebibytes = MOST_BYTES >> 20;
        return Verdict::Guilty(format!(
            "it aborts (SIGABRT), for example because it needs more than {mebibytes} MiB of memory"
        ));
    }
    match OWN_SIGNALS.iter().find(|(own, _name)| own.as_raw() == signal) {
        Some((_own, name)) => Verdict::Guilty(format!("it crashes with {name}")),
        // SIGKILL for the memory of the pod, SIGTERM, and whatever else comes from outside.
        None => Verdict::Undecided(format!("signal {signal} ended the child process")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_program_does_to_itself_convicts() {
        let by_signal = |signal: Signal| verdict(ExitStatus::from_raw(signal.as_raw()));
        for (signal, name) in OWN_SIGNALS {
            assert_eq!(by_signal(signal), Verdict::Guilty(format!("it crashes with {name}")));
        }
        for signal in [Signal::XCPU, Signal::ABORT] {
            assert!(matches!(by_signal(signal), Verdict::Guilty(_)), "{signal:?}");
        }
        for signal in [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP] {
            assert!(matches!(by_signal(signal), Verdict::Undecided(_)), "{signal:?}");
        }
        let by_itself = |code: i32| verdict(ExitStatus::from_raw(code << 8));
        assert!(matches!(by_itself(101), Verdict::Guilty(_)));
        assert!(matches!(by_itself(0), Verdict::Undecided(_)));
    }
}
