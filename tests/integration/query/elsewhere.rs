//! The service reads a standby, or through PgBouncer.

use std::time::{Duration, Instant};

use fleet_store::{DatabaseOptions, Schema, migrate};
use fleet_testbed::{PgBouncer, Postgres, StandbyOptions};
use serde_json::json;
use tokio_postgres::Client;

use super::fleet::{id, insert, set, vehicle_at};
use super::rig::{Service, as_reader};
use crate::support::eventually;

async fn blocking<T: Send + 'static>(start: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(start).await.unwrap()
}

async fn primary() -> Postgres {
    let primary = blocking(|| Postgres::private(&[]).unwrap()).await;
    for schema in [Schema::State, Schema::Telemetry] {
        migrate(&DatabaseOptions::new(&primary.url()), schema).await.unwrap();
    }
    primary
}

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Adds, changes and deletes vehicles through `client`, and waits until the service shows each.
async fn follows(service: &Service, client: &Client, name: &str) {
    let mut row = vehicle_at(name, 1.0, 2.0);
    let path = format!("/v1/vehicles/{}", id(&row));
    insert(client, std::slice::from_ref(&row)).await;
    eventually("a new vehicle", async || (service.get(&path).await.status == 200).then_some(())).await;
    set(&mut row, "lat", json!(3.0));
    client.execute("UPDATE vehicles SET lat = 3 WHERE vehicle_id = $1", &[&id(&row)]).await.unwrap();
    eventually("a change", async || (service.get(&path).await.json()["lat"] == 3.0).then_some(())).await;
    client.execute("DELETE FROM vehicles WHERE vehicle_id = $1", &[&id(&row)]).await.unwrap();
    eventually("an end", async || (service.get(&path).await.status == 404).then_some(())).await;
}

/// A primary, its standby, and a service that reads the standby.
async fn on_a_standby() -> (Postgres, Postgres, Service) {
    let primary = primary().await;
    let (primary, standby) = blocking(move || {
        let standby = Postgres::standby_of(&primary, StandbyOptions::default()).unwrap();
        (primary, standby)
    })
    .await;
    let service = Service::start(&as_reader(&standby.url()), &[]).await;
    service.ready().await;
    (primary, standby, service)
}

#[tokio::test]
async fn a_standby_can_be_read_also_after_its_promotion() {
    let (primary, standby, service) = on_a_standby().await;
    follows(&service, &client(&primary.url()).await, "replicated").await;
    let standby = blocking(move || {
        standby.promote().unwrap();
        standby
    })
    .await;
    follows(&service, &client(&standby.url()).await, "promoted").await;
}

/// The age of what the service says, in seconds.
async fn age(service: &Service) -> f64 {
    service.json("/v1/vehicles?limit=1").await["age_s"].as_f64().unwrap()
}

#[tokio::test]
async fn the_age_includes_that_of_a_standby() {
    let (primary, standby, service) = on_a_standby().await;
    let (writer, replayer) = (client(&primary.url()).await, client(&standby.url()).await);
    follows(&service, &writer, "replicated").await;
    let idle_since = Instant::now();
    while idle_since.elapsed() < Duration::from_secs(3) {
        assert!(age(&service).await < 2.0, "the primary is idle, and the standby has everything");
    }
    replayer.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    insert(&writer, &[vehicle_at("unseen", 1.0, 2.0)]).await;
    eventually("the standby to be behind", async || (age(&service).await > 2.0).then_some(())).await;
    replayer.batch_execute("SELECT pg_wal_replay_resume()").await.unwrap();
    eventually("the standby to catch up", async || (age(&service).await < 1.0).then_some(())).await;
    assert_eq!(service.json("/v1/vehicles").await["vehicles"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_pooler_may_be_in_between() {
    let primary = primary().await;
    // PgBouncer drops the settings of a session, so the role needs them.
    let role = "ALTER ROLE fleet SET synchronous_commit = on; ALTER ROLE fleet SET statement_timeout = '30s'";
    client(&primary.url()).await.batch_execute(role).await.unwrap();
    let settings = [
        "pool_mode = transaction",
        "default_pool_size = 2",
        "ignore_startup_parameters = extra_float_digits, options",
    ];
    let (primary, pooler) = blocking(move || {
        let pooler = PgBouncer::private(&primary, "fleet", &settings).unwrap();
        (primary, pooler)
    })
    .await;
    let service = Service::start(&pooler.url(), &[]).await;
    service.ready().await;
    follows(&service, &client(&primary.url()).await, "pooled").await;
}
