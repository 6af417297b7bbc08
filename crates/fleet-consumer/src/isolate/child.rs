//! The child process that parses messages which may crash it.
//!
//! It has no connection, no settings and no secrets. It writes one byte when it is ready. Then it reads messages from standard
//! input, each after its length (four bytes, little-endian), and writes one byte after each that it has parsed. Its exit status
//! tells the parent whether a message crashed it; see `exit_status.rs`.

use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use fleet_providers::{Limits, Provider};
use jiff::SignedDuration;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::batch::slices::{Parsing, SLICE_RECORDS, Slices};

/// The hidden command that runs it.
pub const COMMAND: &str = "parse-isolated";

/// The byte that the child writes at its start and after every message.
pub(crate) const PARSED: u8 = b'+';

/// How much processor time a message may take. A megabyte takes milliseconds. Wall-clock time would not do: a busy machine
/// says nothing about a message.
pub(crate) const MOST_CPU: Duration = Duration::from_secs(30);

/// The memory limit of `deploy/k8s/base/consumer/deployment.yaml`.
pub const POD_BYTES: u64 = 384 << 20;

/// The most that the consumer itself needs of it. The highest value measured is 105 MiB.
pub const PARENT_BYTES: u64 = 128 << 20;

/// How much memory the child may allocate: 64 MiB less than the consumer leaves. The child must reach this limit before the
/// pod reaches its own, because the kernel may kill all of the pod then (`memory.oom.group`). A body of 1 MiB, the largest that
/// the API accepts by default, needs less than half of it.
pub const MOST_BYTES: u64 = POD_BYTES - PARENT_BYTES - (64 << 20);

/// Stops the child's allocator from reserving memory in advance, which would count against the limit.
pub(crate) const ALLOCATE_ON_DEMAND: (&str, &str) = ("MIMALLOC_ARENA_RESERVE", "0");

/// The stack of the consumer's own parsing threads, which are the runtime's.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// Parses messages from standard input until its end. `max_age_s` is the retention of telemetry.
///
/// # Errors
///
/// If the parent is gone, the thread cannot be started, or the memory limit cannot be set.
pub fn serve(provider: &'static Provider, max_age_s: i64) -> io::Result<()> {
    // If memory is short, the kernel should kill this process first. Not every system allows this setting.
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
            // The time of earlier messages would count against this one. Exit status 0 makes no message a poison message.
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

/// Parses a message as the consumer does, a slice at a time.
fn parse(provider: &'static Provider, limits: &Limits, item: Bytes) {
    let (items, poison) = ([item], std::collections::BTreeMap::new());
    let parsing = Parsing { provider, limits, slice_records: SLICE_RECORDS };
    let mut slices = Slices::new(parsing, &items, &poison);
    while !slices.is_done() {
        let _parsed = slices.next_slice();
    }
}

/// Makes allocations above [`MOST_BYTES`] fail, which ends this process with SIGABRT.
fn limit_memory() -> rustix::io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Data);
    // Keep a lower limit that was set from outside.
    let lower = |limit: Option<u64>| Some(limit.unwrap_or(MOST_BYTES).min(MOST_BYTES));
    setrlimit(Resource::Data, Rlimit { current: lower(current), maximum: lower(maximum) })
}

/// Makes the kernel end this process with SIGXCPU if the next message takes too much processor time. A hard limit that was set
/// from outside stays. At that limit the kernel sends SIGKILL, which makes no message a poison message.
fn limit_cpu() -> rustix::io::Result<()> {
    let used_s = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or_default();
    // The limit is in whole seconds.
    let wanted_s = used_s.saturating_add(1).saturating_add(MOST_CPU.as_secs());
    let maximum = getrlimit(Resource::Cpu).maximum;
    let current = Some(maximum.map_or(wanted_s, |maximum_s| wanted_s.min(maximum_s)));
    setrlimit(Resource::Cpu, Rlimit { current, maximum })
}
