//! One Sentinel.

use std::collections::HashMap;
use std::time::Duration;

use rustix::process::Signal;

use super::options::{SENTINEL_NAME, SentinelOptions};
use crate::Error;
use crate::data::DataFolder;
use crate::logins::ADMIN;
use crate::process::{Launch, Process, on_free_port};
use crate::redis::{ask, ask_with_tls, write_certificate};
use crate::root::{Account, Root};

/// The deadline for a start.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// The Sentinel's file, which it rewrites itself.
const CONFIGURATION: &str = "sentinel.conf";
const ACL: &str = "users.acl";
const CA: &str = "ca.crt";

/// Intervals in ms, for which production has no settings. By default a Sentinel learns of a new replica after
/// up to 10 s.
const INTERVALS: [&str; 8] =
    ["INFO-PERIOD", "500", "PUBLISH-PERIOD", "200", "ASK-PERIOD", "200", "PING-PERIOD", "200"];

/// A Sentinel process with its file.
#[derive(Debug)]
pub(super) struct Sentinel {
    process: Process,
    root: Root,
    account: Account,
    folder: DataFolder,
    port: u16,
    login: Option<(&'static str, &'static str)>,
    options: SentinelOptions,
}

impl Sentinel {
    /// Starts a Sentinel that watches the server on the port `primary`.
    pub(super) fn start(primary: u16, quorum: usize, options: &SentinelOptions) -> Result<Self, Error> {
        let root = options.server.root()?;
        let account = root.account(options.server.user())?;
        let folder = DataFolder::create(&root, account)?;
        if let Some(acl) = &options.acl {
            folder.write(account, ACL, acl)?;
        }
        if let Some(certificate) = &options.tls {
            write_certificate(&folder, account, certificate)?;
        }
        if let Some(ca) = &options.tls_ca {
            folder.write(account, CA, ca)?;
        }
        let (process, port) = on_free_port(
            |port| {
                let text = configuration(&folder, port, primary, quorum, options);
                folder.write(account, CONFIGURATION, &text)?;
                launch(&root, account, &folder, options)
            },
            wait_ready,
        )?;
        let login = options.acl.as_ref().map(|_| ADMIN);
        let sentinel = Self { process, root, account, folder, port, login, options: options.clone() };
        sentinel.shorten_intervals()?;
        Ok(sentinel)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The port of the primary, as this Sentinel sees it.
    pub(super) fn primary(&self) -> Result<u16, Error> {
        let address = self.command(&["GET-MASTER-ADDR-BY-NAME", SENTINEL_NAME])?;
        let port = address.get(1).and_then(|port| port.parse().ok());
        port.ok_or_else(|| self.process.control_error(&format!("the primary is {address:?}")))
    }

    /// Whether it knows exactly `count` other Sentinels.
    pub(super) fn knows_others(&self, count: usize) -> bool {
        let primary = self.command(&["MASTER", SENTINEL_NAME]).unwrap_or_default();
        pairs(&primary).get("num-other-sentinels") == Some(&count.to_string())
    }

    /// Whether it knows at least `count` replicas that are up and follow the primary.
    pub(super) fn knows_replicas(&self, count: usize) -> bool {
        let replicas = self.command(&["REPLICAS", SENTINEL_NAME]).unwrap_or_default();
        // Each replica's list of fields begins with its name.
        let is_up = |fields: &[String]| {
            let fields = pairs(fields);
            fields.get("flags").is_some_and(|flags| flags == "slave")
                && fields.get("master-link-status").is_some_and(|status| status == "ok")
        };
        split_records(&replicas).into_iter().filter(|fields| is_up(fields)).count() >= count
    }

    /// What it knows about the primary and the replicas, for an error.
    pub(super) fn view(&self) -> Vec<String> {
        let ask = |what| self.command(&[what, SENTINEL_NAME]).unwrap_or_else(|error| vec![error.to_string()]);
        [ask("MASTER"), ask("REPLICAS")].concat()
    }

    /// Runs `SENTINEL <words>`.
    pub(super) fn command(&self, words: &[&str]) -> Result<Vec<String>, Error> {
        let words = [&["SENTINEL"], words].concat();
        let asked = if self.options.tls.is_some() {
            ask_with_tls(&self.root, self.account, self.options.server, self.port, self.login, &words)
        } else {
            ask(self.port, self.login, &words)
        };
        asked.map_err(|error| self.process.control_error(&format!("{}: {error}", words.join(" "))))
    }

    pub(super) fn kill(&mut self) -> Result<(), Error> {
        self.process.kill()
    }

    pub(super) fn restart(&mut self) -> Result<(), Error> {
        self.process.kill()?;
        self.process = launch(&self.root, self.account, &self.folder, &self.options)?;
        wait_ready(&mut self.process, self.port)?;
        self.shorten_intervals()
    }

    pub(super) fn pause(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::STOP)
    }

    pub(super) fn resume(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::CONT)
    }

    fn shorten_intervals(&self) -> Result<(), Error> {
        self.command(&[&["DEBUG"], &INTERVALS[..]].concat()).map(drop)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // Nobody can handle an error here. The kernel kills the server when this process ends.
        drop(self.process.kill());
    }
}

fn configuration(
    folder: &DataFolder,
    port: u16,
    primary: u16,
    quorum: usize,
    options: &SentinelOptions,
) -> String {
    let (down_after, timeout) = (options.down_after.as_millis(), options.failover_timeout.as_millis());
    let name = SENTINEL_NAME;
    let mut lines = vec![
        format!("dir {}", folder.data_inside()),
        "bind 127.0.0.1".to_owned(),
        "sentinel announce-ip 127.0.0.1".to_owned(),
        format!("sentinel announce-port {port}"),
        format!("sentinel monitor {name} 127.0.0.1 {primary} {quorum}"),
        format!("sentinel auth-user {name} sentinel"),
        format!("sentinel auth-pass {name} local-use-only-sentinel"),
        format!("sentinel down-after-milliseconds {name} {down_after}"),
        format!("sentinel failover-timeout {name} {timeout}"),
        format!("sentinel parallel-syncs {name} 1"),
    ];
    lines.extend(options.source.map(|source| format!("bind-source-addr {source}")));
    if options.tls.is_some() {
        let ca = if options.tls_ca.is_some() { CA } else { "server.crt" };
        lines.extend(["port 0".to_owned(), format!("tls-port {port}")]);
        lines.extend(
            ["tls-auth-clients no", "tls-cert-file server.crt", "tls-key-file server.key"].map(str::to_owned),
        );
        lines.push(format!("tls-ca-cert-file {ca}"));
        lines.extend(options.tls_ca.as_ref().map(|_| "tls-replication yes".to_owned()));
    } else {
        lines.push(format!("port {port}"));
    }
    if options.acl.is_some() {
        let (user, password) = ADMIN;
        lines.push(format!("aclfile {}/{ACL}", folder.data_inside()));
        lines
            .extend([format!("sentinel sentinel-user {user}"), format!("sentinel sentinel-pass {password}")]);
    }
    lines.join("\n") + "\n"
}

fn launch(
    root: &Root,
    account: Account,
    folder: &DataFolder,
    options: &SentinelOptions,
) -> Result<Process, Error> {
    let file = format!("{}/{CONFIGURATION}", folder.data_inside());
    let argv = [options.server.program().to_owned(), file, "--sentinel".to_owned()];
    let log = folder.log();
    Process::launch(Launch {
        server: "Sentinel",
        root,
        account,
        parent_death_signal: "KILL",
        argv: &argv,
        log,
    })
}

fn wait_ready(process: &mut Process, port: u16) -> Result<(), Error> {
    process.wait_until(READY_WITHIN, |process| {
        let log = process.log();
        log.contains("+monitor master") && log.contains(&format!("port={port}"))
    })
}

/// The fields of one record, as names followed by values.
fn pairs(fields: &[String]) -> HashMap<&str, String> {
    fields.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].clone())).collect()
}

/// The records of a flat list. Each begins with the field `name`.
fn split_records(fields: &[String]) -> Vec<&[String]> {
    let begins: Vec<_> = fields
        .chunks_exact(2)
        .enumerate()
        .filter(|(_, pair)| pair[0] == "name")
        .map(|(index, _)| index * 2)
        .chain([fields.len()])
        .collect();
    begins.windows(2).map(|ends| &fields[ends[0]..ends[1]]).collect()
}
