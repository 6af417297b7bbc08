//! Starts the binaries.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use fleet_queue::{Envelope, Observer, Producer, QueueStatus, RedisLink, RedisLinkOptions};
use fleet_testbed::{DatabaseLogin, RedisLogin};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::support::{
    DEADLINE, TOKEN, database_as, eventually, folder_of_binaries, fresh_prefix, redis_as, redis_url,
};

/// A command for one of the binaries, without the tests' own environment variables.
pub(crate) fn binary(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(folder_of_binaries().join(name));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// A loopback address of its own for each call, so that no other program can take a port on it by chance.
pub(crate) fn own_ip() -> IpAddr {
    let [.., a, b, c] = Uuid::now_v7().into_bytes();
    Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254)).into()
}

/// The addresses and names that the programs of one test share. The URLs have the administrator's login. Each program
/// gets its own login instead.
pub(crate) struct Site {
    pub(crate) redis: String,
    pub(crate) database: String,
    pub(crate) prefix: String,
    /// Whether the database's server has this project's logins.
    pub(crate) has_database_logins: bool,
    /// The trusted CA. Without it, the system's CAs are trusted.
    pub(crate) ca_file: Option<PathBuf>,
}

impl Site {
    /// The tests' Redis with a new prefix, and this database.
    pub(crate) fn new(database: &str) -> Self {
        Self {
            redis: redis_url(),
            database: database.to_owned(),
            prefix: fresh_prefix(),
            has_database_logins: true,
            ca_file: None,
        }
    }

    /// As [`Site::new`], with a database on a server without this project's logins. The programs use this URL
    /// unchanged.
    pub(crate) fn without_logins(database: &str) -> Self {
        Self { has_database_logins: false, ..Self::new(database) }
    }

    /// `fleet-webhook-api` with NIU as its provider.
    pub(crate) fn api(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("fleet-webhook-api", RedisLogin::Api, arguments);
        command.env("FLEET_PROVIDERS__NIU__SECRETS", TOKEN);
        command
    }

    /// `fleet-query-api` as a member of `fleet_reader`, which serves queries on port 8081 of `ip`.
    pub(crate) fn query(&self, ip: IpAddr) -> Command {
        let mut command = binary("fleet-query-api", &[]);
        let login = if self.has_database_logins { DatabaseLogin::Reader } else { DatabaseLogin::Admin };
        command.env("FLEET_DATABASE_URL", database_as(login, &self.database));
        command.env("FLEET_QUERY__LISTEN", SocketAddr::new(ip, 8081).to_string());
        command.env("FLEET_ADMIN__LISTEN", SocketAddr::new(ip, 9092).to_string());
        command
    }

    /// `fleet-consumer` with the database login that the subcommand in `arguments` needs.
    pub(crate) fn consumer(&self, arguments: &[&str]) -> Command {
        let login = match arguments.first() {
            Some(&("migrate" | "retention" | "replay")) => DatabaseLogin::Migrator,
            Some(&"explain") => DatabaseLogin::Reader,
            Some(_) | None => DatabaseLogin::Consumer,
        };
        let mut command = self.command("fleet-consumer", RedisLogin::Consumer, arguments);
        let login = if self.has_database_logins { login } else { DatabaseLogin::Admin };
        command.env("FLEET_DATABASE_URL", database_as(login, &self.database));
        command
    }

    /// `fleet-amqp-bridge`, which has the API's login at Redis.
    pub(crate) fn bridge(&self, arguments: &[&str]) -> Command {
        self.command("fleet-amqp-bridge", RedisLogin::Api, arguments)
    }

    fn command(&self, name: &str, login: RedisLogin, arguments: &[&str]) -> Command {
        let mut command = binary(name, arguments);
        let ip = own_ip();
        command
            .env("FLEET_REDIS_URL", redis_as(login, &self.redis))
            .env("FLEET_QUEUE__PREFIX", &self.prefix)
            .env("FLEET_API__LISTEN", SocketAddr::new(ip, 8080).to_string())
            .env("FLEET_ADMIN__LISTEN", SocketAddr::new(ip, 9090).to_string());
        if let Some(ca_file) = &self.ca_file {
            command.env("FLEET_TLS__CA_FILE", ca_file);
        }
        command
    }

    /// A connection to Redis with the tests' own timeout, because large messages take a while.
    pub(crate) fn link(&self) -> Arc<RedisLink> {
        let options = RedisLinkOptions::new(&self.redis, DEADLINE).with_ca_file(self.ca_file.as_deref());
        Arc::new(RedisLink::open(&options).unwrap())
    }

    /// NIU's queue.
    pub(crate) async fn queue(&self) -> QueueStatus {
        self.queue_of("niu").await
    }

    /// A provider's queue.
    pub(crate) async fn queue_of(&self, provider: &str) -> QueueStatus {
        let observer = Observer::new(self.link(), &self.prefix, provider);
        observer.status().await.unwrap()
    }

    /// Adds this many reports to NIU's queue.
    pub(crate) async fn fill(&self, messages: usize) {
        let bodies: Vec<_> = (0..messages).map(report).collect();
        self.fill_with(&bodies).await;
    }

    /// Adds messages with these bodies to NIU's queue, all in one push.
    pub(crate) async fn fill_with(&self, bodies: &[impl AsRef<str>]) {
        self.fill_queue("niu", bodies).await;
    }

    /// Adds messages with these bodies to a provider's queue, all in one push.
    pub(crate) async fn fill_queue(&self, provider: &str, bodies: &[impl AsRef<str>]) {
        let items: Vec<_> = bodies.iter().map(|body| envelope(body.as_ref())).collect();
        let producer = Producer::new(self.link(), &self.prefix, provider);
        producer.push(&items).await.unwrap();
    }

    /// Waits until all accepted messages are settled.
    pub(crate) async fn settled(&self) {
        eventually("the queue to be empty", async || {
            let status = self.queue().await;
            assert!(status.balances(), "{status:?}");
            (status.accepted.messages > 0 && status.backlog().messages == 0).then_some(())
        })
        .await;
    }
}

/// The queue's item for a webhook with this body.
pub(crate) fn envelope(body: &str) -> Vec<u8> {
    let envelope = Envelope {
        message_id: Uuid::now_v7(),
        received_at: Timestamp::now(),
        topic: "",
        content_type: Some("application/json"),
        traceparent: None,
        body: body.as_bytes(),
    };
    envelope.encode()
}

/// A report of NIU that differs for each number.
pub(crate) fn report(number: usize) -> String {
    let now = Timestamp::now().as_millisecond();
    format!(r#"{{"sn":"NBPROCESS{number}","type":"status","time":{now},"infoTimestamp":{now},"nowSpeed":7}}"#)
}

/// A running program, which is killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    output: NamedTempFile,
    errors: NamedTempFile,
    api: String,
    admin: String,
}

/// What a program that has ended has left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// The same command, run by a shell that executes `preparation` first, such as `trap "" HUP`.
pub(crate) fn prepared(command: &Command, preparation: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{preparation}; exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args()).env_clear().stdin(Stdio::null());
    shell.envs(command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
    shell
}

/// The same command with SIGHUP's default action. Under `nohup` the tests and all programs that they start ignore
/// SIGHUP.
pub(crate) fn hearing_hangups(command: &Command) -> Command {
    let mut env = Command::new("/usr/bin/env");
    env.arg("--default-signal=HUP").arg(command.get_program()).args(command.get_args());
    env.env_clear().stdin(Stdio::null());
    env.envs(command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
    env
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let errors = NamedTempFile::new().unwrap();
        let written = errors.reopen().unwrap();
        Self::start_logging_to(command, written, errors)
    }

    /// Starts the program with `errors` as its standard error. The test does not read what the program logs there.
    pub(crate) fn start_with_errors(command: &mut Command, errors: impl Into<Stdio>) -> Self {
        Self::start_logging_to(command, errors, NamedTempFile::new().unwrap())
    }

    fn start_logging_to(command: &mut Command, written: impl Into<Stdio>, errors: NamedTempFile) -> Self {
        let variable = |name: &str| {
            let mut given = command.get_envs();
            let value = given.find(|(given, _)| *given == name).and_then(|(_, value)| value);
            value.map(|value| format!("http://{}", value.to_str().unwrap()))
        };
        let api = variable("FLEET_API__LISTEN").unwrap_or_default();
        let admin = variable("FLEET_ADMIN__LISTEN").unwrap_or_default();
        let output = NamedTempFile::new().unwrap();
        command.stdout(output.reopen().unwrap()).stderr(written);
        Self { child: command.spawn().unwrap(), output, errors, api, admin }
    }

    /// The URL of NIU's webhooks.
    pub(crate) fn webhooks(&self) -> String {
        format!("{}/webhooks/niu", self.api)
    }

    /// The address of the admin listener.
    pub(crate) fn admin_address(&self) -> String {
        self.admin.strip_prefix("http://").unwrap().to_owned()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Status and body of a GET on the admin listener. None if there is no response.
    pub(crate) async fn get(&self, path: &str) -> Option<(u16, String)> {
        let asked = async {
            let response = reqwest::get(format!("{}{path}", self.admin)).await.ok()?;
            Some((response.status().as_u16(), response.text().await.ok()?))
        };
        // A listener that accepts connections and never responds counts as absent.
        tokio::time::timeout(DEADLINE, asked).await.ok()?
    }

    /// The status of a GET on the admin listener.
    pub(crate) async fn status(&self, path: &str) -> Option<u16> {
        self.get(path).await.map(|(status, _body)| status)
    }

    /// Waits until `/readyz` has this status.
    pub(crate) async fn readiness(&mut self, status: u16) {
        eventually(&format!("/readyz to be {status}"), async || {
            self.assert_running();
            (self.status("/readyz").await == Some(status)).then_some(())
        })
        .await;
    }

    /// Waits until the metrics have a line that starts with `series`, and returns its value.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        eventually(&format!("a metric {series}"), async || {
            let (_status, text) = self.get("/metrics").await?;
            let line = text.lines().find(|line| line.starts_with(series))?;
            line.rsplit_once(' ')?.1.parse().ok()
        })
        .await
    }

    /// What the program has logged so far.
    pub(crate) fn log(&self) -> String {
        read(&self.errors)
    }

    /// Waits until the program has logged this, and returns the log.
    pub(crate) async fn logged(&self, text: &str) -> String {
        eventually(&format!("the log to say {text}"), async || {
            let log = read(&self.errors);
            log.contains(text).then_some(log)
        })
        .await
    }

    pub(crate) fn assert_running(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended ({ended:?}): {}", read(&self.errors));
    }

    /// The memory that the process has now.
    pub(crate) fn resident_bytes(&self) -> usize {
        self.memory("VmRSS:")
    }

    /// The most memory that the process has had.
    pub(crate) fn peak_bytes(&self) -> usize {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        let kib: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        kib * 1024
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// The child processes that still run.
    pub(crate) fn children(&self) -> Vec<Pid> {
        // Each child is listed under the thread that has started it, and threads may end meanwhile.
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default()
        };
        let children: Vec<_> = threads.map(of_thread).collect();
        let children = children.iter().flat_map(|children| children.split_whitespace());
        children.map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// Waits until the program ends.
    pub(crate) async fn ended(mut self) -> Ended {
        let status: ExitStatus =
            eventually("the process to end", async || self.child.try_wait().unwrap()).await;
        Ended {
            code: status.code(),
            signal: status.signal(),
            output: read(&self.output),
            errors: read(&self.errors),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        if std::thread::panicking() {
            eprintln!("--- a program's log ---\n{}", read(&self.errors));
        }
    }
}

fn read(file: &NamedTempFile) -> String {
    let mut text = String::new();
    file.reopen().unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Runs a command until it ends.
pub(crate) async fn run(command: &mut Command) -> Ended {
    Program::start(command).ended().await
}
