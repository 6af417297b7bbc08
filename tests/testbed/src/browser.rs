//! A headless Chromium that tests drive over WebDriver.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{Error, Progress, free_port, root, spawn};

/// The programs, and the packages of Debian that have them.
const PROGRAMS: [&str; 2] = ["chromium", "chromedriver"];
const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// The deadline for the driver's start and its end.
const WITHIN: Duration = Duration::from_secs(30);

/// How often a condition is checked.
const POLL: Duration = Duration::from_millis(20);

/// A running `chromedriver`. Each session of it starts a Chromium. Dropping it ends all of them.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    port: u16,
}

impl Browser {
    /// Starts the driver. Installs Chromium and its driver from Debian if they are missing, which takes half a minute and 400 MB.
    ///
    /// # Errors
    ///
    /// [`Error::NoBrowser`] if they can neither be found nor installed.
    pub fn start(progress: &Progress) -> Result<Self, Error> {
        if !PROGRAMS.into_iter().all(root::on_path) {
            root::install(&PACKAGES, progress).map_err(|missing| Error::NoBrowser { missing })?;
        }
        let port = free_port()?;
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = spawn::spawn(command).map_err(Error::io("start chromedriver"))?;
        let browser = Self { driver, port };
        let deadline = Instant::now() + WITHIN;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if Instant::now() >= deadline {
                let missing = format!("chromedriver did not start within {} s", WITHIN.as_secs());
                return Err(Error::NoBrowser { missing });
            }
            thread::sleep(POLL);
        }
        Ok(browser)
    }

    /// The address of the driver, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Asks the driver to end its sessions and itself.
    fn shut_down(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(WITHIN))?;
        stream.write_all(b"GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Nobody can handle an error here.
        drop(self.shut_down());
        let deadline = Instant::now() + WITHIN;
        while matches!(self.driver.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        if matches!(self.driver.try_wait(), Ok(None)) {
            if let Some(group) = i32::try_from(self.driver.id()).ok().and_then(Pid::from_raw) {
                let _gone = kill_process_group(group, Signal::KILL);
            }
            drop(self.driver.wait());
        }
    }
}
