//! The child process in which messages are parsed that may end whoever parses them.
//!
//! It has no connection, no settings and no secrets. It says that it is there, then reads messages from standard input, each
//! behind its length (four bytes, little-endian), and answers each with one byte once it has parsed it. How it ends tells
//! its parent whether a message is to blame; see `suspects.rs`.

use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use fleet_providers::{Limits, Provider};
use jiff::SignedDuration;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::slices::{Parsing, Slices};

/// The command line's name for it.
pub const COMMAND: &str = "parse-suspects";

/// What the child answers at its start, and to every message.
pub(crate) const PARSED: u8 = b'+';

/// How much processor time a message may take; a megabyte takes milliseconds. It is counted in processor time because a
/// machine that is busy, or frozen for a while, says nothing about a message.
pub(crate) const MOST_CPU: Duration = Duration::from_secs(30);

/// The smallest stack that a consumer parses on: that of the runtime's own threads.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// Parses what comes on standard input, until its end. `max_age_s` is the retention of telemetry.
///
/// # Errors
///
/// If the parent is gone, or the system gives no thread.
pub fn serve(provider: &'static Provider, max_age_s: i64) -> io::Result<()> {
    // The kernel is to end this process before any other: it has nothing to lose. Not everywhere may it say so.
    let _refused = std::fs::write("/proc/self/oom_score_adj", "1000");
    let limits = Limits { max_age: SignedDuration::from_secs(max_age_s), ..Limits::default() };
    let parsing =
        thread::Builder::new().stack_size(STACK_BYTES).spawn(move || parse_all(provider, &limits))?;
    parsing.join().map_err(|_panic| io::Error::other("the parser panicked"))?
}

fn parse_all(provider: &'static Provider, limits: &Limits) -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut answer = || output.write_all(&[PARSED]).and_then(|()| output.flush());
    answer()?;
    while let Some(item) = next_item(&mut input)? {
        limit_cpu();
        parse(provider, limits, item);
        answer()?;
    }
    Ok(())
}

fn next_item(input: &mut impl Read) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
    let mut item = vec![0; length];
    input.read_exact(&mut item)?;
    Ok(Some(item.into()))
}

/// As the consumer does it, a slice at a time.
fn parse(provider: &'static Provider, limits: &Limits, item: Bytes) {
    let (items, refused) = ([item], std::collections::BTreeMap::new());
    let parsing = Parsing { provider, limits, max_records: usize::MAX };
    let mut slices = Slices::new(parsing, &items, &refused);
    while !slices.is_done() {
        let _parsed = slices.next_slice();
    }
}

/// Lets the kernel end this process with SIGXCPU when the next message takes too much.
fn limit_cpu() {
    let used_s = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or_default();
    // The limit is in whole seconds.
    let current = Some(used_s.saturating_add(1).saturating_add(MOST_CPU.as_secs()));
    let maximum = getrlimit(Resource::Cpu).maximum;
    // A lower limit that came from outside stays; the parent has a limit of its own.
    let _refused = setrlimit(Resource::Cpu, Rlimit { current, maximum });
}
