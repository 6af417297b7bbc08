//! The database is away: what is known is still answered, with its age. The service follows a failover.

use fleet_store::{DatabaseOptions, Schema, migrate};
use fleet_testbed::{Postgres, Proxy};
use jiff::Timestamp;
use serde_json::json;

use super::events::Stream;
use super::fleet::{id, insert, set, vehicle_at};
use super::rig::{Service, as_reader};
use crate::process::program::{Program, Site, own_ip};
use crate::support::eventually;

/// A server of its own behind a proxy.
struct Server {
    postgres: Postgres,
    proxy: Proxy,
}

impl Server {
    async fn start() -> Self {
        let postgres = tokio::task::spawn_blocking(|| Postgres::private(&[]).unwrap()).await.unwrap();
        for schema in [Schema::State, Schema::Telemetry] {
            migrate(&DatabaseOptions::new(&postgres.url()), schema).await.unwrap();
        }
        let proxy = Proxy::start(postgres.port()).unwrap();
        Self { postgres, proxy }
    }

    /// The URL through the proxy.
    fn url(&self) -> String {
        self.postgres.url().replace(&self.postgres.port().to_string(), &self.proxy.port().to_string())
    }

    async fn client(&self) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.postgres.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

#[tokio::test]
async fn without_the_database_what_is_known_is_answered_with_its_age() {
    let server = Server::start().await;
    let mut row = vehicle_at("one", 1.0, 2.0);
    let client = server.client().await;
    insert(&client, std::slice::from_ref(&row)).await;
    let timeouts =
        [("FLEET_DATABASE__STATEMENT_TIMEOUT", "500ms"), ("FLEET_DATABASE__CONNECT_TIMEOUT", "500ms")];
    let service = Service::start(&as_reader(&server.url()), &timeouts).await;
    service.ready().await;
    let mut stream = Stream::open(service.request("/v1/vehicles/stream")).await;
    stream.until("heartbeat").await;

    server.proxy.black_hole();
    let age = eventually("the knowledge to be old", async || {
        let body = service.json("/v1/vehicles?near=1,2&radius_m=1").await;
        assert_eq!(body["vehicles"].as_array().unwrap().len(), 1, "{body}");
        body["age_s"].as_f64().filter(|age| *age > 1.0)
    })
    .await;
    // Those that were written before are read first.
    while stream.until("heartbeat").await.data["age_s"].as_f64().unwrap() < age {}
    let track = service.get(&format!("/v1/vehicles/{}/track", id(&row))).await;
    assert_eq!(track.problem(), (503, "database_unavailable".to_owned(), None));
    set(&mut row, "locked", json!(true));
    set(&mut row, "locked_at", json!(Timestamp::now().to_string()));
    insert(&client, std::slice::from_ref(&row)).await;

    server.proxy.heal();
    stream.until_vehicles(|vehicles| vehicles[&id(&row)]["locked"] == true).await;
    let body = service.json("/v1/vehicles").await;
    assert!(body["age_s"].as_f64().unwrap() < 1.0, "{body}");
    assert_eq!(service.get(&format!("/v1/vehicles/{}/track", id(&row))).await.status, 200);
}

/// After a failover that lost transactions, a row may be older than it was. No change of it is visible by its `xmin`.
#[tokio::test]
async fn another_server_is_read_from_the_beginning() {
    let (first, second) = (Server::start().await, Server::start().await);
    let old = vehicle_at("one", 1.0, 2.0);
    let mut new = old.clone();
    set(&mut new, "lat", json!(7.0));
    insert(&second.client().await, &[old.clone(), vehicle_at("two", 1.0, 2.0)]).await;
    // The transactions of the first server have greater numbers.
    let client = first.client().await;
    for _ in 0..50 {
        insert(&client, std::slice::from_ref(&new)).await;
    }
    let service = Service::start(&as_reader(&first.url()), &[]).await;
    service.ready().await;
    let place = async || {
        let body = service.json("/v1/vehicles").await;
        (
            body["vehicles"].as_array().unwrap().len(),
            service.json(&format!("/v1/vehicles/{}", id(&old))).await["lat"].clone(),
        )
    };
    assert_eq!(place().await, (1, json!(7.0)));
    first.proxy.retarget(second.postgres.port());
    first.proxy.cut();
    eventually("the other server to be read", async || (place().await == (2, json!(1.0))).then_some(()))
        .await;
}

#[tokio::test]
async fn readiness_ends_when_the_knowledge_is_older_than_its_bound() {
    let server = Server::start().await;
    let client = server.client().await;
    insert(&client, &[vehicle_at("one", 1.0, 2.0)]).await;
    let site = Site::new(&server.url());
    let mut command = site.query(own_ip());
    command.env("FLEET_QUERY__MAX_AGE", "2s").env("FLEET_DATABASE__CONNECT_TIMEOUT", "1s");
    command.env("FLEET_DATABASE__STATEMENT_TIMEOUT", "1s");
    let mut program = Program::start(&mut command);
    program.readiness(200).await;
    server.proxy.black_hole();
    program.readiness(503).await;
    assert!(program.metric("fleet_query_knowledge_age_seconds").await >= 2.0);
    let (_status, text) = program.get("/readyz").await.unwrap();
    assert!(text.starts_with("outdated"), "{text}");
    program.logged("cannot read vehicles: serving what is known, with its age").await;
    program.logged("older than FLEET_QUERY__MAX_AGE: not ready").await;
    assert_eq!(program.status("/livez").await, Some(200), "a restart would only make it forget");
    server.proxy.heal();
    program.readiness(200).await;
    program.logged("vehicles can be read again").await;
}
