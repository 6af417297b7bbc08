//! Both programs with the users that we ship, on servers whose roles change.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fleet_queue::{
    Observer, Producer, QueueKeys, QueueStatus, RedisLink, RedisLinkOptions, SentinelOptions, Topology,
};
use fleet_testbed::{Redis, RedisLogin, SENTINEL_NAME};

use crate::process::program::{Ended, Program, Site, envelope, report, run};
use crate::support::{TOKEN, TestDatabase, eventually};

/// After the servers have agreed on another primary, the programs use it within this time: the next check (2 s), one call
/// that times out (3 s), and some time for a busy machine.
pub(super) const FOLLOWED_WITHIN: Duration = Duration::from_secs(8);

/// The commands that read Redis.
const COMMANDS: [&[&str]; 5] = [
    &["audit"],
    &["accept-loss"],
    &["dead-letters", "list"],
    &["dead-letters", "replay"],
    &["trace", "01890a5d-ac96-774b-bcce-b302099a8057"],
];

/// The address of several servers, and what the programs are told about them.
pub(super) struct Rig {
    site: Site,
    topology: Topology,
    variables: Vec<(&'static str, String)>,
    database: TestDatabase,
    posted: std::sync::atomic::AtomicUsize,
}

impl Rig {
    /// `url` has the administrator's login.
    pub(super) async fn new(url: String, topology: Topology) -> Self {
        let database = TestDatabase::migrated().await;
        let mut site = Site::new(database.url());
        site.redis = url;
        let mut variables = vec![("FLEET_REDIS__TOPOLOGY", topology.name().to_owned())];
        if topology == Topology::Sentinel {
            variables.push(("FLEET_REDIS__SENTINEL_NAME", SENTINEL_NAME.to_owned()));
        }
        Self { site, topology, variables, database, posted: 0.into() }
    }

    /// Trusts this CA.
    pub(super) fn trusting(mut self, ca_file: PathBuf) -> Self {
        self.site.ca_file = Some(ca_file);
        // The database of the tests has no TLS.
        self.site.database.push_str("?sslmode=disable");
        self
    }

    /// Sets this variable for the programs.
    pub(super) fn with(mut self, variable: &'static str, value: &str) -> Self {
        self.variables.push((variable, value.to_owned()));
        self
    }

    pub(super) fn api_command(&self) -> Command {
        self.with_variables(self.site.api(&[]))
    }

    pub(super) fn consumer_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.with_variables(self.site.consumer(arguments));
        command.env("FLEET_CONSUMER__STATUS_INTERVAL", "200ms");
        command
    }

    fn with_variables(&self, mut command: Command) -> Command {
        command.envs(self.variables.iter().map(|(name, value)| (*name, value.as_str())));
        command
    }

    /// Both programs, ready.
    pub(super) async fn start(&self) -> [Program; 2] {
        let mut programs =
            [self.api_command(), self.consumer_command(&[])].map(|mut command| Program::start(&mut command));
        for program in &mut programs {
            program.readiness(200).await;
        }
        programs
    }

    /// The options of a link for this provider's queue.
    pub(super) fn options(&self, login: RedisLogin, provider: &str, timeout: Duration) -> RedisLinkOptions {
        let sentinel = match self.topology {
            Topology::Sentinel => {
                SentinelOptions { name: Some(SENTINEL_NAME.to_owned()), ..SentinelOptions::default() }
            }
            Topology::Single | Topology::Cluster => SentinelOptions::default(),
        };
        RedisLinkOptions::new(&login.of(&self.site.redis), timeout)
            .with_ca_file(self.site.ca_file.as_deref())
            .with_topology(self.topology, sentinel)
            .for_queue(&self.keys(provider))
    }

    pub(super) fn keys(&self, provider: &str) -> QueueKeys {
        QueueKeys::new(&self.site.prefix, provider)
    }

    pub(super) fn link(&self, login: RedisLogin, provider: &str) -> Arc<RedisLink> {
        Arc::new(RedisLink::open(&self.options(login, provider, Duration::from_secs(3))).unwrap())
    }

    pub(super) fn producer(&self, provider: &str) -> Producer {
        Producer::new(self.link(RedisLogin::Api, provider), &self.site.prefix, provider)
    }

    pub(super) fn observer(&self, provider: &str) -> Observer {
        Observer::new(self.link(RedisLogin::Consumer, provider), &self.site.prefix, provider)
    }

    /// Pushes one new message.
    pub(super) async fn push(&self, producer: &Producer) -> Result<(), fleet_queue::QueueError> {
        producer.push(&[envelope(&report(self.number()))]).await.map(|_pushed| ())
    }

    fn number(&self) -> usize {
        self.posted.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    /// Posts a new webhook to NIU. Returns the status.
    pub(super) async fn post(&self, api: &Program) -> u16 {
        let request =
            reqwest::Client::new().post(api.webhooks()).header("token", TOKEN).body(report(self.number()));
        request.send().await.unwrap().status().as_u16()
    }

    /// Waits until the API takes a webhook.
    pub(super) async fn taken(&self, api: &Program) {
        eventually("the API to respond with 200", async || (self.post(api).await == 200).then_some(())).await;
    }

    /// Waits until this queue's primary has settled everything that it knows, and that is something.
    pub(super) async fn settled(&self, provider: &str) -> QueueStatus {
        let observer = self.observer(provider);
        eventually("the queue to be empty", async || {
            let status = observer.status().await.ok()?;
            assert!(status.balances(), "{status:?}");
            (status.accepted.messages > 0 && status.backlog().messages == 0).then_some(status)
        })
        .await
    }

    /// The number of stored vehicles.
    pub(super) async fn vehicles(&self) -> i64 {
        self.database.client().await.query_one("SELECT count(*) FROM vehicles", &[]).await.unwrap().get(0)
    }

    /// Every command that reads Redis succeeds.
    pub(super) async fn commands_work(&self) {
        for arguments in COMMANDS {
            let ended = self.command(arguments).await;
            // Nobody has seen the message that `trace` searches for.
            let expected = i32::from(arguments[0] == "trace");
            assert_eq!(ended.code, Some(expected), "{arguments:?}: {ended:?}");
            for failed in ["no primary", "could not look"] {
                assert!(!ended.errors.contains(failed), "{arguments:?}: {ended:?}");
            }
        }
    }

    pub(super) async fn command(&self, arguments: &[&str]) -> Ended {
        run(&mut self.consumer_command(arguments)).await
    }
}

/// Runs what blocks, such as starting a server.
pub(super) async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// A primary and its replica.
pub(super) async fn pair() -> (Redis, Redis) {
    blocking(|| {
        let primary = Redis::private(&[]).unwrap();
        let replica = primary.replica().unwrap();
        (primary, replica)
    })
    .await
}

/// Waits until the replica has all writes of the primary.
pub(super) async fn replicated(primary: &Redis, replica: &Redis) {
    let offset = |server: &Redis, name: &str| server.info("replication").unwrap().get(name).cloned();
    eventually("the replica to have everything", async || {
        (offset(primary, "master_repl_offset") == offset(replica, "slave_repl_offset")).then_some(())
    })
    .await;
}
