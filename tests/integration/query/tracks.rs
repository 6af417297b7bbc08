//! Tracks, compared with telemetry.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::fleet::{id, vehicle_at};
use super::rig::{Rig, Service};

/// Adds an event to telemetry.
pub(crate) async fn report(client: &Client, vehicle_id: Uuid, at: Timestamp, lat: f64, lon: f64) {
    let statement = "INSERT INTO telemetry (vehicle_id, observed_at, event_id, received_at, message_id, provider, topic, kind, \
                       lat, lon, speed_kmh, battery_percent, raw) \
                     VALUES ($1, $2, $3, $2, $3, 'niu', '', 'status', $4, $5, 12.5, NULL, '{}')";
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&vehicle_id, &at, &Uuid::now_v7(), &lat, &lon];
    client.execute(statement, &parameters).await.unwrap();
}

/// Many events, several of them at the same time.
async fn fill(client: &Client, vehicle_id: Uuid, last: Timestamp, count: i32) {
    let statement = "INSERT INTO telemetry (vehicle_id, observed_at, event_id, received_at, message_id, provider, topic, kind, \
                       lat, lon, speed_kmh, battery_percent, raw) \
                     SELECT $1, $2::timestamptz - (i / 3) * INTERVAL '10 seconds', gen_random_uuid(), now(), gen_random_uuid(), \
                            'niu', '', 'status', CASE WHEN i % 7 > 0 THEN i / 1000.0 END, \
                            CASE WHEN i % 7 > 0 THEN 1 + i / 1000.0 END, NULL, NULL, '{}' \
                       FROM generate_series(1, $3) AS i";
    client.execute(statement, &[&vehicle_id, &last, &count]).await.unwrap();
}

async fn expected(
    client: &Client,
    vehicle_id: Uuid,
    from: Timestamp,
    to: Timestamp,
) -> Vec<(Timestamp, f64)> {
    let query = "SELECT observed_at, lat FROM telemetry WHERE vehicle_id = $1 AND observed_at >= $2 AND observed_at < $3 \
                    AND lat IS NOT NULL ORDER BY observed_at, event_id DESC";
    let rows = client.query(query, &[&vehicle_id, &from, &to]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

fn points(body: &Value) -> Vec<(Timestamp, f64)> {
    let points = body["points"].as_array().unwrap_or_else(|| panic!("{body}")).iter();
    points
        .map(|point| {
            (point["observed_at"].as_str().unwrap().parse().unwrap(), point["lat"].as_f64().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn the_pages_of_a_track_are_the_rows_of_telemetry() {
    let row = vehicle_at("driver", 1.0, 2.0);
    let rig = Rig::start(std::slice::from_ref(&row)).await;
    let now = Timestamp::now();
    fill(&rig.client, id(&row), now, 4000).await;
    let (from, to) = (now - SignedDuration::from_hours(3), now - SignedDuration::from_mins(10));
    let wanted = expected(&rig.client, id(&row), from, to).await;
    assert!(wanted.len() > 2500, "{}", wanted.len());
    let path = format!("/v1/vehicles/{}/track?from={from}&to={to}", id(&row));
    assert_eq!(points(&rig.service.json(&format!("{path}&limit=10000")).await), wanted, "in one response");
    for limit in [1000, 999, 77] {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let body = rig.service.json(&format!("{path}&limit={limit}{after}")).await;
            found.extend(points(&body));
            let Some(next) = body["after"].as_str() else { break };
            assert_eq!(points(&body).len(), limit);
            after = format!("&after={next}");
        }
        assert_eq!(found, wanted, "in pages of {limit}");
    }
    let exactly = rig.service.json(&format!("{path}&limit={}", wanted.len())).await;
    assert!(exactly["after"].is_null(), "nothing follows the last point");
}

#[tokio::test]
async fn a_track_is_a_line_with_times() {
    let row = vehicle_at("driver", 1.0, 2.0);
    let rig = Rig::start(std::slice::from_ref(&row)).await;
    let path = format!("/v1/vehicles/{}/track", id(&row));
    let ask = async || {
        Service::send(rig.service.request(&path).header("accept", "application/geo+json")).await.json()
    };
    let empty = ask().await;
    assert_eq!((&empty["geometry"], &empty["properties"]["times"]), (&Value::Null, &json!([])));
    let now = Timestamp::now().round(jiff::Unit::Second).unwrap();
    let at = |seconds| now - SignedDuration::from_secs(seconds);
    report(&rig.client, id(&row), at(20), 1.5, 2.5).await;
    let one = ask().await;
    assert_eq!(one["geometry"], json!({ "type": "Point", "coordinates": [2.5, 1.5] }));
    report(&rig.client, id(&row), at(10), 1.75, 2.75).await;
    let line = ask().await;
    assert_eq!(line["geometry"], json!({ "type": "LineString", "coordinates": [[2.5, 1.5], [2.75, 1.75]] }));
    assert_eq!(line["properties"]["times"], json!([at(20).to_string(), at(10).to_string()]));
    let json = rig.service.json(&path).await;
    assert_eq!(json["points"][1]["speed_kmh"], 12.5);
    assert_eq!(json["points"][1]["battery_percent"], Value::Null);
}
