//! The service reads a standby, or through PgBouncer.

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

#[tokio::test]
async fn a_standby_can_be_read_also_after_its_promotion() {
    let primary = primary().await;
    let (primary, standby) = blocking(move || {
        let standby = Postgres::standby_of(&primary, StandbyOptions::default()).unwrap();
        (primary, standby)
    })
    .await;
    let service = Service::start(&as_reader(&standby.url()), &[]).await;
    service.ready().await;
    follows(&service, &client(&primary.url()).await, "replicated").await;
    let standby = blocking(move || {
        standby.promote().unwrap();
        standby
    })
    .await;
    follows(&service, &client(&standby.url()).await, "promoted").await;
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
