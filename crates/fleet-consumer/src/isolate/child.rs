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

use crate::batch::slices::{Parsing, Slices};

/// The command line's name for it.
pub const COMMAND: &str = "parse-suspects";

/// What the child answers at its start, and to every message.
pub(crate) const PARSED: u8 = b'+';

/// How much processor time a message may take; a megabyte takes milliseconds. It is counted in processor time because a
/// machine that is busy, or frozen for a while, says nothing about a message.
pub(crate) const MOST_CPU: Duration = Duration::from_secs(30);

/// The memory limit of `deploy/k8s/base/consumer/deployment.yaml`.
pub const POD_BYTES: u64 = 384 << 20;

/// What the consumer itself needs at most of it: the greatest measured is 105 MiB.
pub const PARENT_BYTES: u64 = 128 << 20;

/// How much memory the child may allocate: 64 MiB less than the consumer leaves. The kernel may kill the whole pod if the
/// memory of the pod is exhausted (`memory.oom.group`), so the child must end by itself before that. A body of 1 MiB, the most
/// that the API accepts by default, needs less than half of this, so a message that needs more is to blame.
pub const MOST_BYTES: u64 = POD_BYTES - PARENT_BYTES - (64 << 20);

/// Keeps the allocator of the child from reserving memory beforehand, which the limit would count.
pub(crate) const ALLOCATE_ON_DEMAND: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "0");

/// The smallest stack that a consumer parses on: that of the runtime's own threads.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// Parses what comes on standard input, until its end. `max_age_s` is the retention of telemetry.
///
/// # Errors
///
/// If the parent is gone, or the system gives no thread or limits no memory.
pub fn serve(provider: &'static Provider, max_age_s: i64) -> io::Result<()> {
    // The kernel is to end this process before any other: it has nothing to lose. Not everywhere may it say so.
    let _refused = std::fs::write("/proc/self/oom_score_adj", "1000");
    limit_memory()?;
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
        if limit_cpu().is_err() {
            // Time that earlier messages took would count against this one. Ending with success blames nobody.
            return Ok(());
        }
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

/// Lets an allocation fail that brings this process above [`MOST_BYTES`], which ends it with SIGABRT.
fn limit_memory() -> rustix::io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Data);
    // A lower limit that came from outside stays.
    let lower = |limit: Option<u64>| Some(limit.unwrap_or(MOST_BYTES).min(MOST_BYTES));
    setrlimit(Resource::Data, Rlimit { current: lower(current), maximum: lower(maximum) })
}

/// Lets the kernel end this process with SIGXCPU when the next message takes too much. A hard limit that came from outside
/// stays: whoever reaches it is killed with SIGKILL, which blames no message.
fn limit_cpu() -> rustix::io::Result<()> {
    let used_s = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or_default();
    // The limit is in whole seconds.
    let wanted_s = used_s.saturating_add(1).saturating_add(MOST_CPU.as_secs());
    let maximum = getrlimit(Resource::Cpu).maximum;
    let current = Some(maximum.map_or(wanted_s, |maximum_s| wanted_s.min(maximum_s)));
    setrlimit(Resource::Cpu, Rlimit { current, maximum })
}
