//! Many writers, long transactions and kills of the service: what streams and requests say in the end is what the table holds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use uuid::Uuid;

use super::events::Stream;
use super::fleet::{insert, vehicle_at};
use crate::process::program::{Program, Site, own_ip};
use crate::support::{TestDatabase, eventually};

const VEHICLES: u32 = 300;

/// Latitude and lock of each vehicle.
type Told = BTreeMap<Uuid, (Option<f64>, bool)>;

/// What a stream tells about a vehicle that these tests change.
fn essence(vehicle: &Value) -> (Option<f64>, bool) {
    (vehicle["lat"].as_f64(), vehicle["locked"] == true)
}

async fn table(client: &Client, condition: &str) -> Told {
    let query = format!("SELECT vehicle_id, lat, coalesce(locked, false) FROM vehicles WHERE {condition}");
    let rows = client.query(&query, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

/// Changes random vehicles until `ended`, in transactions that last for up to `longest`, and end in another order than they began.
async fn write(client: Client, seed: u64, longest: Duration, ended: Arc<AtomicBool>) {
    let mut rng = Rng::with_seed(seed);
    let mut number = 0;
    while !ended.load(Ordering::Relaxed) {
        client.batch_execute("BEGIN").await.unwrap();
        // In the order of their ids, so that writers do not deadlock.
        let mut names: Vec<_> = (0..rng.u32(1..6)).map(|_| rng.u32(0..VEHICLES)).collect();
        names.sort_by_key(|name| fleet_providers::vehicle_id("niu", &format!("w{name}")));
        names.dedup();
        for name in names {
            let vehicle_id = fleet_providers::vehicle_id("niu", &format!("w{name}"));
            let lat = f64::from(rng.u32(0..4000)) / 1000.0;
            let statement = "INSERT INTO vehicles (vehicle_id, provider, provider_vehicle_id, lat, lon, position_at, first_seen_at, \
                               last_seen_at) VALUES ($1, 'niu', $2, $3, 1, now(), now(), now()) \
                             ON CONFLICT (vehicle_id) DO UPDATE SET lat = excluded.lat, locked = NOT coalesce(vehicles.locked, false), locked_at = now()";
            client.execute(statement, &[&vehicle_id, &format!("w{name}"), &lat]).await.unwrap();
            if rng.u8(0..20) == 0 {
                client.execute("DELETE FROM vehicles WHERE vehicle_id = $1", &[&vehicle_id]).await.unwrap();
            }
        }
        tokio::time::sleep(longest.mul_f64(rng.f64())).await;
        let end = if rng.u8(0..8) == 0 { "ROLLBACK" } else { "COMMIT" };
        client.batch_execute(end).await.unwrap();
        number += 1;
    }
    assert!(number > 0, "no transaction");
}

/// Follows a stream over kills of the service, as a browser does.
async fn follow(url: String, query: &'static str, ended: Arc<AtomicBool>, wanted: Arc<OnceLock<Told>>) {
    let http = reqwest::Client::new();
    let (mut last, mut known) = (String::new(), BTreeMap::new());
    let (mut snapshots, mut matched) = (0, false);
    while !matched {
        let mut request = http.get(format!("{url}/v1/vehicles/stream?{query}"));
        if !last.is_empty() {
            request = request.header("last-event-id", &last);
        }
        let response = request.send().await.ok().filter(|response| response.status() == 200);
        let Some(response) = response else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let mut stream = Stream::read(response);
        stream.vehicles = std::mem::take(&mut known);
        while let Some(event) = stream.next().await {
            snapshots += u32::from(event.name == "snapshot");
            let now: BTreeMap<_, _> =
                stream.vehicles.iter().map(|(id, vehicle)| (*id, essence(vehicle))).collect();
            matched = ended.load(Ordering::Relaxed) && wanted.get() == Some(&now);
            if matched {
                break;
            }
        }
        (last, known) = (stream.last_event_id.clone(), stream.vehicles);
    }
    assert!(snapshots >= 2, "a service that was killed begins with a snapshot: {snapshots}");
}

#[tokio::test]
async fn nothing_is_missed_under_writers_long_transactions_and_kills() {
    let database = TestDatabase::migrated().await;
    let fleet: Vec<_> = (0..VEHICLES).map(|n| vehicle_at(&format!("w{n}"), 1.0, 1.0)).collect();
    let client = database.client().await;
    insert(&client, &fleet).await;
    let site = Site::new(database.url());
    let ip = own_ip();
    let start = || {
        let mut command = site.query(ip);
        command.env("FLEET_QUERY__REFRESH_INTERVAL", "50ms").env("FLEET_QUERY__HEARTBEAT", "100ms");
        Program::start(&mut command)
    };
    let mut program = start();
    program.readiness(200).await;
    let url = format!("http://{ip}:8081");
    let ended = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for (seed, longest_ms) in [(1, 5), (2, 30), (3, 200), (4, 2000)] {
        writers.spawn(write(
            database.client().await,
            seed,
            Duration::from_millis(longest_ms),
            Arc::clone(&ended),
        ));
    }
    let mut readers = JoinSet::new();
    let mut wanted = Vec::new();
    for (query, condition) in
        [("", "true"), ("bbox=0,1,2,2", "lat BETWEEN 1 AND 2"), ("locked=true", "locked")]
    {
        let cell = Arc::new(OnceLock::new());
        wanted.push((condition, Arc::clone(&cell)));
        readers.spawn(follow(url.clone(), query, Arc::clone(&ended), cell));
    }
    for _kill in 0..3 {
        until_changed(&client).await;
        program.signal(Signal::KILL);
        program.ended().await;
        program = start();
        program.readiness(200).await;
    }
    until_changed(&client).await;
    ended.store(true, Ordering::Relaxed);
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    for (condition, cell) in wanted {
        cell.set(table(&client, condition).await).unwrap();
    }
    // The table no longer changes. Each reader ends when it has the same.
    while let Some(reader) =
        tokio::time::timeout(crate::support::DEADLINE, readers.join_next()).await.expect("in time")
    {
        reader.unwrap();
    }
    let http = reqwest::get(format!("{url}/v1/vehicles?limit=10000")).await.unwrap().text().await.unwrap();
    let list: Value = serde_json::from_str(&http).unwrap();
    let list = list["vehicles"].as_array().unwrap().iter();
    let list: BTreeMap<_, _> = list.map(|vehicle| (super::fleet::id(vehicle), essence(vehicle))).collect();
    assert_eq!(list, table(&client, "true").await);
}

/// Waits until the writers have ended many more transactions.
async fn until_changed(client: &Client) {
    let written = async || -> i64 {
        let query =
            "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'vehicles'";
        client.query_one(query, &[]).await.unwrap().get(0)
    };
    let first = written().await;
    eventually("the writers to write", async || (written().await > first + 150).then_some(())).await;
}
