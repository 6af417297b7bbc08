//! The child process that parses messages in isolation, and the limits that it sets itself.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use fleet_consumer::isolate::child;
use rustix::process::Signal;

use super::{enormous, slow};
use crate::documents::text::read;
use crate::process::program::{binary, envelope, prepared};

/// A message of the largest size that the API accepts by default.
const MIB: usize = 1 << 20;

fn command() -> Command {
    let mut command = binary("fleet-consumer", &[child::COMMAND, "niu", "7776000"]);
    command.env("MIMALLOC_ARENA_RESERVE", "0");
    command
}

/// A child that is ready for messages.
struct ChildParser {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl ChildParser {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut parser = Self { child, input, output };
        assert!(parser.answers(), "it is not ready: {:?}", parser.child.wait());
        parser
    }

    /// Whether the child has parsed the message and still runs.
    fn parses(&mut self, body: &str) -> bool {
        let item = envelope(body);
        let length = u32::try_from(item.len()).unwrap().to_le_bytes();
        let written = self.input.write_all(&length).and_then(|()| self.input.write_all(&item));
        written.is_ok() && self.answers()
    }

    fn answers(&mut self) -> bool {
        let mut answer = [0];
        self.output.read_exact(&mut answer).is_ok()
    }

    /// The signal that has ended the child.
    fn ended_by(mut self) -> Option<i32> {
        drop(self.input);
        self.child.wait().unwrap().signal()
    }
}

#[test]
fn a_message_that_takes_the_memory_of_the_pod_ends_the_child_alone() {
    let manifest = read("deploy/k8s/base/consumer/deployment.yaml");
    let limit = format!("limits:\n              memory: {}Mi\n", child::POD_BYTES >> 20);
    assert!(manifest.contains(&limit), "{limit}");
    const { assert!(child::PARENT_BYTES + child::MOST_BYTES < child::POD_BYTES) };

    let mut parser = ChildParser::start(&mut command());
    for _ in 0..3 {
        assert!(parser.parses(&enormous(MIB)), "what the API accepts");
    }
    assert!(!parser.parses(&enormous(16 * MIB)));
    assert_eq!(parser.ended_by(), Some(Signal::ABORT.as_raw()));
}

#[test]
fn a_limit_of_processor_time_from_outside_convicts_no_message() {
    // Two seconds are less than the child gives a message, and enough for each of these.
    let mut parser = ChildParser::start(&mut prepared(&command(), "ulimit -St 1; ulimit -Ht 2"));
    let message = slow();
    let parsed = (0..100).take_while(|_| parser.parses(&message)).count();
    assert!((1..100).contains(&parsed), "{parsed}");
    assert_eq!(
        parser.ended_by(),
        Some(Signal::KILL.as_raw()),
        "after SIGXCPU the last one would be a poison message"
    );
}
