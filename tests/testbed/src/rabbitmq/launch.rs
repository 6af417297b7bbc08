//! The files, the environment and the processes of a private RabbitMQ.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use super::options::RabbitMqOptions;
use crate::Error;
use crate::data::DataFolder;
use crate::process::{Launch, Process};
use crate::root::{Account, Root};

const SERVER: &str = "RabbitMQ";

/// The deadline for a start. On a busy machine it takes ten times as long as on an idle one.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// The folder of its programs inside the root.
const BIN: &str = "/usr/lib/rabbitmq/bin";

/// The file of the certificate in the data folder.
pub(super) const CERTIFICATE: &str = "server.crt";

/// What Erlang logs if another process has taken a port.
const PORT_TAKEN: &str = "eaddrinuse";

#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) amqps: u16,
    /// Where `rabbitmqctl` connects.
    pub(super) distribution: u16,
    /// Erlang's name server.
    pub(super) epmd: u16,
}

/// Both processes of a server that is ready.
pub(super) struct Launched {
    pub(super) epmd: Process,
    pub(super) process: Process,
}

pub(super) fn write_files(
    folder: &DataFolder,
    account: Account,
    ports: Ports,
    options: &RabbitMqOptions,
) -> Result<(), Error> {
    let data = folder.data_inside();
    let configuration = format!(
        "listeners.tcp = none\n\
         listeners.ssl.1 = 127.0.0.1:{}\n\
         ssl_options.certfile = {data}/{CERTIFICATE}\n\
         ssl_options.keyfile = {data}/server.key\n\
         ssl_options.verify = verify_none\n\
         ssl_options.fail_if_no_peer_cert = false\n\
         consumer_timeout = {}\n\
         disk_free_limit.absolute = 50MB\n\
         log.console = true\n\
         log.console.level = info\n\
         definitions.import_backend = local_filesystem\n\
         definitions.local.path = {data}/definitions.json\n\
         definitions.skip_if_unchanged = true\n",
        ports.amqps, options.consumer_timeout_ms
    );
    folder.write(account, CERTIFICATE, &options.tls.certificate)?;
    folder.write(account, "server.key", &options.tls.key)?;
    folder.write(account, "rabbitmq.conf", &configuration)?;
    folder.write(account, "enabled_plugins", "[].\n")?;
    folder.write(account, "definitions.json", &options.definitions())
}

/// Starts both processes, and waits until the server is ready.
pub(super) fn launch(
    root: &Root,
    account: Account,
    folder: &DataFolder,
    ports: Ports,
) -> Result<Launched, Error> {
    let mut epmd = start(root, account, folder, &with_environment(folder, ports, &["epmd"]))?;
    let launched = epmd
        .wait_until(READY_WITHIN, |_process| TcpStream::connect((Ipv4Addr::LOCALHOST, ports.epmd)).is_ok())
        .and_then(|()| server(root, account, folder, ports));
    let mut process = match launched {
        Ok(process) => process,
        Err(error) => {
            epmd.kill()?;
            return Err(error);
        }
    };
    match wait_ready(&mut process) {
        Ok(()) => Ok(Launched { epmd, process }),
        Err(error) => {
            process.kill()?;
            epmd.kill()?;
            Err(error)
        }
    }
}

/// Starts the server alone.
pub(super) fn server(
    root: &Root,
    account: Account,
    folder: &DataFolder,
    ports: Ports,
) -> Result<Process, Error> {
    let server = format!("{BIN}/rabbitmq-server");
    start(root, account, folder, &with_environment(folder, ports, &[&server]))
}

pub(super) fn wait_ready(process: &mut Process) -> Result<(), Error> {
    process.wait_until(READY_WITHIN, has_started)
}

pub(super) fn has_started(process: &Process) -> bool {
    process.log().contains("Server startup complete")
}

/// Whether a start failed because of a port.
pub(super) fn port_taken(folder: &DataFolder) -> bool {
    std::fs::read_to_string(folder.log()).is_ok_and(|log| log.contains(PORT_TAKEN))
}

/// The command line of `rabbitmqctl`.
pub(super) fn ctl(folder: &DataFolder, ports: Ports, arguments: &[&str]) -> Vec<String> {
    let ctl = format!("{BIN}/rabbitmqctl");
    with_environment(folder, ports, &[&[ctl.as_str(), "--quiet"][..], arguments].concat())
}

fn start(root: &Root, account: Account, folder: &DataFolder, argv: &[String]) -> Result<Process, Error> {
    let log = folder.log();
    Process::launch(Launch { server: SERVER, root, account, parent_death_signal: "KILL", argv, log })
}

/// A command with the environment that every program of this server needs.
fn with_environment(folder: &DataFolder, ports: Ports, command: &[&str]) -> Vec<String> {
    let data = folder.data_inside();
    let variables = [
        ("HOME", data.clone()),
        // `rabbitmqctl` finds the server by its name. The part behind the @ must be resolvable.
        ("RABBITMQ_NODENAME", format!("fleet-{}@localhost", ports.amqps)),
        ("RABBITMQ_MNESIA_BASE", format!("{data}/database")),
        ("RABBITMQ_LOG_BASE", format!("{data}/log")),
        ("RABBITMQ_LOGS", "-".to_owned()),
        ("RABBITMQ_CONFIG_FILE", format!("{data}/rabbitmq.conf")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", format!("{data}/enabled_plugins")),
        ("RABBITMQ_DIST_PORT", ports.distribution.to_string()),
        ("ERL_EPMD_PORT", ports.epmd.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        // The script replaces itself by the server then. Otherwise the server would outlive its shell.
        ("RABBITMQ_ALLOW_INPUT", "1".to_owned()),
        // The time limit for acks is checked once in this interval, by default once a minute.
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-noinput -rabbit channel_tick_interval 500 -kernel inet_dist_use_interface {127,0,0,1}"
                .to_owned(),
        ),
        ("RABBITMQ_CTL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}".to_owned()),
    ];
    let variables = variables.iter().map(|(name, value)| format!("{name}={value}"));
    std::iter::once("env".to_owned())
        .chain(variables)
        .chain(command.iter().map(|&word| word.to_owned()))
        .collect()
}
