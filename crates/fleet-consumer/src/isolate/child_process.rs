//! The consumer's end of a child process that parses messages.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fleet_providers::{Limits, Provider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::isolate::child::{ALLOCATE_ON_DEMAND, COMMAND, PARSED};
use crate::isolate::exit_status::Outcome;

/// How long a child may take to start.
const START_WITHIN: Duration = Duration::from_secs(30);

/// How long it may take for one message, however busy the machine is. The child limits its processor time itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// How long a child whose pipes are closed may take to end.
const END_WITHIN: Duration = Duration::from_secs(10);

/// A child that is ready for messages. Dropping it kills it.
pub(super) struct ChildProcess {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl ChildProcess {
    /// Starts `program` as a child and waits until it is ready.
    ///
    /// # Errors
    ///
    /// Why there is no child.
    pub(super) async fn start(
        program: &Path,
        provider: &'static Provider,
        limits: &Limits,
    ) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg(COMMAND).arg(provider.slug).arg(limits.max_age.as_secs().to_string());
        let (name, value) = ALLOCATE_ON_DEMAND;
        command
            .env_clear()
            .env(name, value)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A panic's message may quote the webhook, which must not get into the log.
            .stderr(Stdio::null());
        let failed = |error: io::Error| format!("cannot start a child process: {error}");
        let mut child = command.kill_on_drop(true).spawn().map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a child process has no pipes".to_owned());
        };
        let mut process = Self { child, input, output };
        match timeout(START_WITHIN, process.answer()).await {
            Ok(Ok(())) => Ok(process),
            Ok(Err(error)) => {
                // Wait for it here. The runtime would leave it a zombie for a while.
                let _killed = process.child.kill().await;
                Err(format!("a child process ended before it was ready: {error}"))
            }
            Err(_elapsed) => Err("a child process is not ready in time".to_owned()),
        }
    }

    /// Has the child parse a message.
    pub(super) async fn parse(&mut self, item: &[u8]) -> Outcome {
        match timeout(ANSWER_WITHIN, self.exchange(item)).await {
            Ok(Ok(())) => Outcome::Parsed,
            Err(_elapsed) => Outcome::Unknown("the child process does not answer in time".to_owned()),
            Ok(Err(error)) => match timeout(END_WITHIN, self.child.wait()).await {
                Ok(Ok(status)) => status.into(),
                Ok(Err(_)) | Err(_) => {
                    Outcome::Unknown(format!("the child process does not answer: {error}"))
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
