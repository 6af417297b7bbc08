//! The API and the consumer in the test's process, with a database and a key prefix of their own.

use std::sync::Arc;

use fleet_queue::{Observer, QueueStatus, RedisLink};
use fleet_runtime::readiness::Readiness;
use fleet_runtime::settings::{Settings, load};
use fleet_testbed::{DatabaseLogin, RedisLogin};
use fleet_webhook_api::source_settings::source_settings;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{TestDatabase, database_as, eventually, folder_of_binaries, fresh_prefix, redis_as, redis_url};

/// The token of NIU and INVERS.
pub(crate) const TOKEN: &str = "test-token-0001";
/// The secret of the Segway fixtures.
pub(crate) const SEGWAY_SECRET: &str = "test-secret-0001";

/// A running API and consumer, each with its own login. Both end when this is dropped.
pub(crate) struct Fleet {
    /// The consumer's settings.
    pub(crate) settings: Settings,
    pub(crate) api: String,
    /// The given variables, whose URLs have the administrator's login.
    given: Vec<(String, String)>,
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Fleet {
    /// Starts both on `database`.
    pub(crate) async fn start(database: &TestDatabase) -> Self {
        Self::start_with(&[("FLEET_DATABASE_URL", database.url())]).await
    }

    /// Starts both with these settings in addition to the tests' own. URLs have the administrator's login.
    pub(crate) async fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut fleet = Self::api_only(variables).await;
        fleet.start_consumer();
        fleet
    }

    /// Starts only the API.
    pub(crate) async fn api_only(variables: &[(&str, &str)]) -> Self {
        let (prefix, redis) = (fresh_prefix(), redis_url());
        let own = [
            ("FLEET_REDIS_URL", redis.as_str()),
            ("FLEET_QUEUE__PREFIX", &prefix),
            ("FLEET_PROVIDERS__NIU__SECRETS", TOKEN),
            ("FLEET_PROVIDERS__SEGWAY__SECRETS", "test-secret-0001,test-secret-0002"),
            ("FLEET_PROVIDERS__INVERS__SECRETS", TOKEN),
        ];
        let given = own.iter().chain(variables);
        let given: Vec<_> = given.map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let api_settings = with_logins(&given, RedisLogin::Api, DatabaseLogin::Consumer);
        let settings = with_logins(&given, RedisLogin::Consumer, DatabaseLogin::Consumer);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let served = source_settings(&api_settings).unwrap();
        let running = {
            let (settings, shutdown) = (api_settings, shutdown.clone());
            async move {
                let readiness = Arc::new(Readiness::default());
                let clean =
                    fleet_webhook_api::server::run(&settings, served, listener, readiness, shutdown).await;
                assert!(clean.unwrap(), "the API did not end cleanly");
            }
        };
        Self { settings, api, given, shutdown, tasks: vec![tokio::spawn(running)] }
    }

    /// Starts a consumer, or another one.
    pub(crate) fn start_consumer(&mut self) {
        let (settings, shutdown) = (self.settings.clone(), self.shutdown.clone());
        self.tasks.push(tokio::spawn(async move {
            let (program, readiness) = (folder_of_binaries().join("fleet-consumer"), Arc::default());
            fleet_consumer::service::run(&settings, program, readiness, shutdown).await.unwrap();
        }));
    }

    /// The settings for a command that needs another database login than the consumer's.
    pub(crate) fn settings_as(&self, login: DatabaseLogin) -> Settings {
        with_logins(&self.given, RedisLogin::Consumer, login)
    }

    /// Ends both, as SIGTERM does.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
    }

    /// The queue of `provider`.
    pub(crate) async fn queue(&self, provider: &str) -> QueueStatus {
        let link = Arc::new(RedisLink::open(&self.settings.redis()).unwrap());
        Observer::new(link, &self.settings.queue.prefix, provider).status().await.unwrap()
    }

    /// Waits until every accepted message is settled.
    pub(crate) async fn settled(&self) {
        for provider in fleet_providers::PROVIDERS {
            eventually(&format!("{}'s queue to be empty", provider.slug), async || {
                let status = self.queue(provider.slug).await;
                assert!(status.balances(), "{status:?}");
                (status.backlog().messages == 0).then_some(())
            })
            .await;
        }
    }
}

/// The settings from `given`, with these logins in the URLs instead of the administrator's.
fn with_logins(given: &[(String, String)], redis: RedisLogin, database: DatabaseLogin) -> Settings {
    let with_login = |(name, value): &(String, String)| {
        let value = match name.as_str() {
            "FLEET_REDIS_URL" => redis_as(redis, value),
            "FLEET_DATABASE_URL" | "FLEET_TELEMETRY_DATABASE_URL" => database_as(database, value),
            _ => value.clone(),
        };
        (name.clone(), value)
    };
    load(None, given.iter().map(with_login)).unwrap()
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
