//! Late, future-dated and current reports.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::scene::Scene;
use crate::support::eventually;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// A report from `ago` milliseconds ago. A negative `ago` lies in the future.
fn report(ago: i64, lat: f64, locked: bool) -> String {
    let at = Timestamp::now().as_millisecond() - ago;
    format!(
        r#"{{"sn":"A1","infoTimestamp":{at},"gpsTimestamp":{at},"postion":{{"lat":{lat},"lng":13.4}},"isFortificationOn":{}}}"#,
        u8::from(locked)
    )
}

fn lat_and_locked(vehicle: &Value) -> (f64, bool) {
    (vehicle["lat"].as_f64().unwrap(), vehicle["locked"].as_bool().unwrap())
}

#[tokio::test]
async fn a_late_report_does_not_turn_the_vehicle_back() {
    let scene = Scene::start().await;
    scene.take(report(MINUTE, 52.5, true)).await;
    scene.fleet.settled().await;
    let fresh = scene.vehicle("A1").await;
    scene.take(report(HOUR, 48.1, false)).await;
    scene.fleet.settled().await;
    assert_eq!(scene.vehicle("A1").await, fresh);
    assert_eq!(lat_and_locked(&fresh), (52.5, true));
    let rows: i64 = scene.value("SELECT count(*) FROM telemetry").await;
    assert_eq!(rows, 2, "telemetry has the late report");
    scene.take(report(0, 53.5, false)).await;
    scene.fleet.settled().await;
    assert_eq!(lat_and_locked(&scene.vehicle("A1").await), (53.5, false));
}

#[tokio::test]
async fn late_reports_in_one_batch_do_not_either() {
    let mut scene = Scene::api_only(&[]).await;
    for (minutes, lat) in [(2, 52.2), (1, 52.1), (5, 52.5), (3, 52.3)] {
        scene.take(report(minutes * MINUTE, lat, minutes == 1)).await;
    }
    scene.fleet.start_consumer();
    scene.fleet.settled().await;
    assert_eq!(lat_and_locked(&scene.vehicle("A1").await), (52.1, true));
    let rows: i64 = scene.value("SELECT count(*) FROM telemetry").await;
    assert_eq!(rows, 4);
}

#[tokio::test]
async fn a_future_dated_fix_does_not_freeze_the_vehicle() {
    let scene = Scene::start().await;
    let skewed = scene.take(report(-24 * HOUR, 1.0, true)).await;
    scene.fleet.settled().await;
    assert_eq!(lat_and_locked(&scene.vehicle("A1").await), (1.0, true));
    let query = "SELECT t.observed_at = t.received_at AND v.position_at = t.received_at
                    AND v.locked_at = t.received_at AND v.clock_skewed_at = t.received_at
                   FROM telemetry t JOIN vehicles v USING (vehicle_id) WHERE message_id = $1";
    let row = scene.sql.query_one(query, &[&skewed]).await.unwrap();
    assert!(row.get::<_, bool>(0), "the time of receipt replaces its time");

    scene.take(report(0, 52.5, false)).await;
    scene.fleet.settled().await;
    assert_eq!(lat_and_locked(&scene.vehicle("A1").await), (52.5, false));
    let still: bool = scene.value("SELECT clock_skewed_at < last_seen_at FROM vehicles").await;
    assert!(still, "the time of the skew is kept");
}

#[tokio::test]
async fn a_clock_that_is_a_little_fast_is_believed() {
    let scene = Scene::start().await;
    scene.take(report(-4 * MINUTE, 52.5, true)).await;
    scene.fleet.settled().await;
    let believed: bool =
        scene.value("SELECT position_at > last_seen_at AND clock_skewed_at IS NULL FROM vehicles").await;
    assert!(believed);
}

#[tokio::test]
async fn a_vehicle_is_in_the_view_soon_after_the_answer() {
    let scene = Scene::start().await;
    // One report beforehand opens the connections, as in a running service.
    scene.take(report(MINUTE, 48.1, true)).await;
    scene.fleet.settled().await;
    scene.take(report(0, 52.5, false)).await;
    let answered = Instant::now();
    let query = "SELECT position_age < interval '1 minute' FROM vehicle_positions
                  WHERE provider = 'niu' AND provider_vehicle_id = 'A1' AND lat = 52.5 AND NOT locked";
    let fresh = eventually("the vehicle to be in the view", async || {
        let row = scene.sql.query_opt(query, &[]).await.unwrap()?;
        Some(row.get::<_, bool>(0))
    })
    .await;
    assert!(fresh);
    // This takes a second on an idle machine. Other tests may keep this one busy.
    assert!(answered.elapsed() < Duration::from_secs(5), "{:?}", answered.elapsed());
}
