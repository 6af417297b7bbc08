//! The query service in the test's process, as a member of `fleet_reader`.

use std::sync::Arc;

use fleet_runtime::http::listen;
use fleet_runtime::readiness::Readiness;
use fleet_runtime::settings::{Settings, load};
use fleet_testbed::DatabaseLogin;
use jiff::Timestamp;
use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::fleet::insert;
use crate::support::{TestDatabase, database_as, eventually};

/// A running service on a database.
pub(crate) struct Rig {
    _database: TestDatabase,
    /// With the administrator's login.
    pub(crate) client: Client,
    pub(crate) service: Service,
}

impl Rig {
    /// A service that knows these vehicles, rows of `vehicles`.
    pub(crate) async fn start(vehicles: &[Value]) -> Self {
        Self::start_with(vehicles, &[]).await
    }

    /// The same with more settings.
    pub(crate) async fn start_with(vehicles: &[Value], variables: &[(&str, &str)]) -> Self {
        let database = TestDatabase::migrated().await;
        let client = database.client().await;
        insert(&client, vehicles).await;
        let url = database.url_as(DatabaseLogin::Reader);
        let service = Service::start(&url, variables).await;
        service.ready().await;
        Self { _database: database, client, service }
    }
}

/// A service, which ends when it is dropped.
pub(crate) struct Service {
    pub(crate) url: String,
    shutdown: CancellationToken,
    task: JoinHandle<bool>,
    http: reqwest::Client,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status, kind and parameter of a problem, which must be as RFC 9457 has it.
    pub(crate) fn problem(&self) -> (u16, String, Option<String>) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status, "{self:?}");
        assert!(body["title"].is_string() && body["detail"].is_string(), "{self:?}");
        let kind = body["type"].as_str().unwrap().strip_prefix("urn:fleet:problem:").unwrap();
        (self.status, kind.to_owned(), body["parameter"].as_str().map(str::to_owned))
    }
}

impl Service {
    /// Starts the service on this database.
    pub(crate) async fn start(database_url: &str, variables: &[(&str, &str)]) -> Self {
        Self::start_at("127.0.0.1:0", database_url, variables).await
    }

    /// The same at this address.
    pub(crate) async fn start_at(address: &str, database_url: &str, variables: &[(&str, &str)]) -> Self {
        let settings = settings(database_url, variables);
        // As the service does: with the system's own buffers, the kernel would take whole responses.
        let listener = listen(address.parse().unwrap(), 1024, 64 * 1024).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let prepared = fleet_query_api::server::prepare(&settings).unwrap();
        let stopping = shutdown.clone();
        let task = tokio::spawn(async move {
            let readiness = Arc::new(Readiness::default());
            fleet_query_api::server::run(&settings, prepared, listener, readiness, stopping).await
        });
        Self { url, shutdown, task, http: reqwest::Client::new() }
    }

    /// A GET of a path below the service's address.
    pub(crate) fn request(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Self::send(self.request(path)).await
    }

    pub(crate) async fn send(request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    /// The body of a successful GET.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Waits until the service has read the vehicles.
    pub(crate) async fn ready(&self) {
        eventually("the vehicles to be read", async || {
            let answer = self.get("/v1/vehicles?limit=1").await;
            (answer.status != 503).then_some(())
        })
        .await;
    }

    /// Waits until the service has read the vehicles after this call.
    pub(crate) async fn fresh(&self) {
        let now = Timestamp::now();
        eventually("the vehicles to be read again", async || {
            let answer = self.get("/v1/vehicles?limit=1").await;
            let as_of: Timestamp = answer.json()["as_of"].as_str()?.parse().unwrap();
            (as_of > now).then_some(())
        })
        .await;
    }

    /// Begins the shutdown, as SIGTERM does.
    pub(crate) fn stop(&self) {
        self.shutdown.cancel();
    }

    /// Waits for the end. Says whether it was a clean one.
    pub(crate) async fn ended(&mut self) -> bool {
        (&mut self.task).await.unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The settings of a service on this database, which reads it four times as often as by default.
pub(crate) fn settings(database_url: &str, variables: &[(&str, &str)]) -> Settings {
    let own = [
        ("FLEET_DATABASE_URL", database_url),
        ("FLEET_QUERY__REFRESH_INTERVAL", "100ms"),
        ("FLEET_QUERY__HEARTBEAT", "200ms"),
    ];
    let given = own.iter().chain(variables).map(|&(name, value)| (name.to_owned(), value.to_owned()));
    load(None, given).unwrap()
}

/// The URL with the reader's login.
pub(crate) fn as_reader(url: &str) -> String {
    database_as(DatabaseLogin::Reader, url)
}
