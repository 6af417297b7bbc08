//! What the end of a child process says about the message that it was parsing.
//!
//! Only an end that a program causes itself makes a message a poison message. The kernel kills processes for lack of memory,
//! and people and orchestrators kill them for reasons of their own.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;

use crate::isolate::child::{MOST_BYTES, MOST_CPU};

/// Signals that a program causes itself, besides SIGXCPU and SIGABRT.
const OWN_SIGNALS: [(Signal, &str); 6] = [
    (Signal::SEGV, "SIGSEGV"),
    (Signal::BUS, "SIGBUS"),
    (Signal::ILL, "SIGILL"),
    (Signal::FPE, "SIGFPE"),
    (Signal::TRAP, "SIGTRAP"),
    (Signal::SYS, "SIGSYS"),
];

/// What a message did to the child process that parsed it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The child is ready for the next message.
    Parsed,
    /// The message crashed the child, in this way.
    Crashed(String),
    /// The child ended or did not answer for another reason, which no message caused.
    Unknown(String),
}

impl From<ExitStatus> for Outcome {
    fn from(status: ExitStatus) -> Self {
        let Some(signal) = status.signal() else {
            return match status.code() {
                Some(code) if code != 0 => {
                    Self::Crashed(format!("its child process ended with status {code}"))
                }
                Some(_) | None => Self::Unknown("the child process ended".to_owned()),
            };
        };
        if signal == Signal::XCPU.as_raw() {
            let seconds = MOST_CPU.as_secs();
            return Self::Crashed(format!("it takes more than {seconds} s of processor time"));
        }
        if signal == Signal::ABORT.as_raw() {
            let mebibytes = MOST_BYTES >> 20;
            return Self::Crashed(format!(
                "it aborts (SIGABRT), for example because it needs more than {mebibytes} MiB of memory"
            ));
        }
        match OWN_SIGNALS.iter().find(|(own, _name)| own.as_raw() == signal) {
            Some((_own, name)) => Self::Crashed(format!("it crashes with {name}")),
            // SIGKILL when the pod is out of memory, SIGTERM, and whatever else comes from outside.
            None => Self::Unknown(format!("signal {signal} ended the child process")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_crash_that_the_program_causes_itself_counts() {
        let by_signal = |signal: Signal| Outcome::from(ExitStatus::from_raw(signal.as_raw()));
        for (signal, name) in OWN_SIGNALS {
            assert_eq!(by_signal(signal), Outcome::Crashed(format!("it crashes with {name}")));
        }
        for signal in [Signal::XCPU, Signal::ABORT] {
            assert!(matches!(by_signal(signal), Outcome::Crashed(_)), "{signal:?}");
        }
        for signal in [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP] {
            assert!(matches!(by_signal(signal), Outcome::Unknown(_)), "{signal:?}");
        }
        let with_code = |code: i32| Outcome::from(ExitStatus::from_raw(code << 8));
        assert!(matches!(with_code(101), Outcome::Crashed(_)));
        assert!(matches!(with_code(0), Outcome::Unknown(_)));
    }
}
