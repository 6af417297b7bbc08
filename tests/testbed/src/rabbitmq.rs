//! A private RabbitMQ, as INVERS has one: AMQP 0-9-1 over TLS, a vhost for the customer, queues that exist already.

mod launch;
mod options;

use std::path::PathBuf;

use rustix::process::Signal;

use self::launch::{Launched, Ports};
pub use self::options::{AmqpLogin, INVERS_QUEUES, RabbitMqOptions};
use crate::data::DataFolder;
use crate::process::Process;
use crate::root::{Account, Root};
use crate::{Error, Progress, free_port};

/// How many times a start is tried. Another process may take one of its three ports.
const ATTEMPTS: usize = 3;

/// A private RabbitMQ on a loopback port. It has the vhost `customer` and the queues of its options. Dropping it stops it and
/// removes its data.
#[derive(Debug)]
pub struct RabbitMq {
    /// The name server of Erlang, which RabbitMQ would start itself and leave behind.
    epmd: Process,
    process: Process,
    root: Root,
    account: Account,
    folder: DataFolder,
    ports: Ports,
}

impl RabbitMq {
    /// Starts a private RabbitMQ. Creates its private root first if necessary (15 s, 240 MB).
    ///
    /// # Errors
    ///
    /// [`Error::NoRoot`] if a private root is impossible, [`Error::Start`] if RabbitMQ does not become ready.
    pub fn private(options: &RabbitMqOptions) -> Result<Self, Error> {
        Self::start(options, &Progress::stderr())
    }

    /// Like [`RabbitMq::private`], with this progress.
    ///
    /// # Errors
    ///
    /// As [`RabbitMq::private`].
    pub fn start(options: &RabbitMqOptions, progress: &Progress) -> Result<Self, Error> {
        let root = Root::with_rabbitmq(progress)?;
        let account = root.account("rabbitmq")?;
        let mut attempt = 1;
        loop {
            let folder = DataFolder::create(&root, account)?;
            let ports = Ports { amqps: free_port()?, distribution: free_port()?, epmd: free_port()? };
            launch::write_files(&folder, account, ports, options)?;
            match launch::launch(&root, account, &folder, ports) {
                Ok(Launched { epmd, process }) => {
                    return Ok(Self { epmd, process, root, account, folder, ports });
                }
                Err(_) if attempt < ATTEMPTS && launch::port_taken(&folder) => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The URL with a login, `amqps://<user>:<password>@localhost:<port>/customer`.
    #[must_use]
    pub fn url(&self, login: AmqpLogin) -> String {
        Self::url_at(login, self.ports.amqps)
    }

    /// The URL with a login of whatever listens at `port`, for example a [`Proxy`](crate::Proxy).
    #[must_use]
    pub fn url_at(login: AmqpLogin, port: u16) -> String {
        let (user, password) = login.credentials();
        format!("amqps://{user}:{password}@localhost:{port}/{}", options::VHOST)
    }

    /// The file with the server's certificate.
    #[must_use]
    pub fn certificate_file(&self) -> PathBuf {
        self.folder.data_host().join(launch::CERTIFICATE)
    }

    /// The TCP port. [`RabbitMq::restart`] keeps it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.ports.amqps
    }

    /// The server's pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Runs `rabbitmqctl` and returns its output.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] with its message if it fails.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String, Error> {
        let argv = launch::ctl(&self.folder, self.ports, arguments);
        let output = self.root.command_as(self.account, None, &argv).output();
        let output = output.map_err(Error::io("run rabbitmqctl with chroot"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr);
        Err(self.process.control_error(&format!("rabbitmqctl {}: {}", arguments.join(" "), message.trim())))
    }

    /// Writes to disk which quorum queues exist. Until then, for up to seconds, a killed server forgets the name of a queue that was
    /// declared before, and never starts it again.
    ///
    /// # Errors
    ///
    /// As [`RabbitMq::ctl`].
    pub fn sync_queues(&self) -> Result<(), Error> {
        let reply = self.ctl(&["eval", "dets:sync(ra_directory_reverse)."])?;
        if reply == "ok" {
            return Ok(());
        }
        Err(self.process.control_error(&format!("the registry of queues was not written: {reply}")))
    }

    /// Kills the server with SIGKILL and waits for its end. The data remains for [`RabbitMq::restart`].
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if the process cannot be killed.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.process.kill()
    }

    /// Restarts the server on the same port with the same data and waits until it is ready. Kills it first if it still runs.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if it does not become ready, for example because its port was taken meanwhile.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.begin_restart()?;
        launch::wait_ready(&mut self.process)
    }

    /// Like [`RabbitMq::restart`], but does not wait, which takes seconds. [`RabbitMq::is_ready`] tells when it is over.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if it cannot be started.
    pub fn begin_restart(&mut self) -> Result<(), Error> {
        self.process.kill()?;
        self.process = launch::server(&self.root, self.account, &self.folder, self.ports)?;
        Ok(())
    }

    /// Whether the server has started, and serves its queues.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] if it has ended by itself.
    pub fn is_ready(&mut self) -> Result<bool, Error> {
        if self.process.is_running() {
            return Ok(launch::has_started(&self.process));
        }
        Err(self.process.start_error("it ended by itself".to_owned()))
    }

    /// Pauses the server with SIGSTOP: connections stay open without responses.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it does not run.
    pub fn pause(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::STOP)
    }

    /// Resumes after [`RabbitMq::pause`] with SIGCONT.
    ///
    /// # Errors
    ///
    /// [`Error::Control`] if it does not run.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.process.signal(Signal::CONT)
    }

    /// What the server has logged since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        // Nobody can handle an error here. The kernel kills both when this process ends.
        drop(self.process.kill());
        drop(self.epmd.kill());
    }
}
