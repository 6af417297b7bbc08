//! What the services have in common: settings, logging, health and metrics, from the start to the exit status.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, serve_admin};
use crate::cli::ConfigFile;
use crate::exit::{fail, refuse};
use crate::http::{SEND_BUFFER_BYTES, listen};
use crate::metrics::{Buckets, collect_metrics};
use crate::readiness::Readiness;
use crate::settings::{Settings, SettingsError, load, variables};
use crate::{health, logging, shutdown, stdout};

/// One of the services.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Name of its binary.
    pub program: &'static str,
    /// Port of its admin listener on 127.0.0.1, unless configured otherwise.
    pub default_admin_port: u16,
    /// The buckets of its histograms.
    pub buckets: &'static [Buckets],
}

impl Service {
    /// Reads the settings, starts logging, and runs `command`.
    pub fn with_settings(&self, file: &ConfigFile, command: impl FnOnce(&Settings) -> ExitCode) -> ExitCode {
        let settings = variables(std::env::vars_os())
            .and_then(|variables| load(file.path.as_deref(), variables.into_iter()));
        let started = settings.and_then(|settings| {
            logging::start(&settings.log, settings.log_format).map_err(|error| {
                SettingsError(vec![format!("FLEET_LOG (log): {error}; use a log filter such as info")])
            })?;
            Ok(settings)
        });
        match started {
            Ok(settings) => command(&settings),
            Err(error) => self.refuse(error),
        }
    }

    /// Says what is wrong with the configuration.
    pub fn refuse(&self, problem: impl Display) -> ExitCode {
        refuse(self.program, problem)
    }

    /// `check-config`: prints the configuration in effect, secrets redacted, and says what is wrong with it.
    pub fn check_config(&self, settings: &Settings, checked: Result<(), impl Display>) -> ExitCode {
        for (name, value) in settings.effective() {
            stdout::print(format_args!("{name}={value}"));
        }
        checked.map_or_else(|error| self.refuse(error), |()| ExitCode::SUCCESS)
    }

    /// `health`: asks the running service whether it is ready.
    pub fn health(&self, settings: &Settings) -> ExitCode {
        health::check(self.admin_address(settings))
    }

    /// The address of the admin listener.
    pub fn admin_address(&self, settings: &Settings) -> SocketAddr {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, self.default_admin_port));
        settings.admin.listen.unwrap_or(default)
    }

    /// Serves health and metrics while `work` runs, which receives the readiness to report and the token that the first
    /// SIGTERM, SIGINT or SIGHUP cancels. Returns the exit status of `work`.
    pub async fn run<Work: Future<Output = ExitCode>>(
        &self,
        settings: &Settings,
        work: impl FnOnce(Arc<Readiness>, CancellationToken) -> Work,
    ) -> ExitCode {
        let listener = match bind(self.admin_address(settings), admin::BACKLOG, "FLEET_ADMIN__LISTEN") {
            Ok(listener) => listener,
            Err(status) => return status,
        };
        let (shutdown, metrics) = match (shutdown::on_signal(), collect_metrics(self.program, self.buckets)) {
            (Ok(shutdown), Ok(metrics)) => (shutdown, metrics),
            (Err(error), _) => return fail(format!("cannot listen for signals: {error}")),
            (_, Err(error)) => return fail(format!("cannot collect metrics: {error}")),
        };
        let readiness = Arc::new(Readiness::default());
        // Serves until the work has ended, also during the shutdown.
        let admin = match serve_admin(listener, Arc::clone(&readiness), metrics) {
            Ok(admin) => admin,
            Err(error) => return fail(format!("cannot serve health and metrics: {error}")),
        };
        tokio::select! {
            status = work(readiness, shutdown) => status,
            () = admin => fail("stopped: the admin listener has ended; see the log for why"),
        }
    }
}

/// Listens on `address`, which the variable `setting` sets, for requests with small responses.
///
/// # Errors
///
/// The exit status, after the reason has been written to standard error.
pub fn bind(address: SocketAddr, backlog: u32, setting: &str) -> Result<TcpListener, ExitCode> {
    bind_with_buffer(address, backlog, SEND_BUFFER_BYTES, setting)
}

/// As [`bind`], with a kernel buffer of this many bytes for the responses of each connection.
///
/// # Errors
///
/// As [`bind`].
pub fn bind_with_buffer(
    address: SocketAddr,
    backlog: u32,
    send_buffer_bytes: u32,
    setting: &str,
) -> Result<TcpListener, ExitCode> {
    listen(address, backlog, send_buffer_bytes).map_err(|error| {
        fail(format!("cannot listen on {address}: {error}; set {setting} to another address"))
    })
}
