//! Every fixture, from HTTP to SQL.

use fleet_fixtures::Fixture;

use super::scene::Scene;
use crate::answers::client::assert_refused;

/// The rows and dead letters of those fixtures that do not become exactly one row of telemetry.
const OTHERS: [(&str, (i64, i64)); 10] = [
    // Three events, and one that names no vehicle.
    ("backlog_array.json", (3, 1)),
    ("backlog_cut_emoji.json", (3, 0)),
    ("backlog_nested_deeply.json", (2, 1)),
    ("backlog_nul_in_an_unused_text.json", (3, 0)),
    ("locked_and_unlocked_within_one_second.json", (2, 0)),
    ("data_array.json", (2, 0)),
    // The same events, byte for byte, as an earlier fixture's.
    ("data_object.json", (0, 0)),
    ("redelivered_duplicate.json", (0, 0)),
    ("replay.form", (0, 0)),
    ("status_v2.form", (0, 0)),
];

fn success(provider: &str) -> (Option<&str>, &str) {
    match provider {
        "niu" => (Some("application/json"), r#"{"status":0,"desc":"success"}"#),
        "segway" => (Some("application/json"), r#"{"code":0}"#),
        "invers" => (None, ""),
        other => panic!("add the response that {other} expects"),
    }
}

#[tokio::test]
async fn every_fixture_is_answered_and_stored() {
    let scene = Scene::long_ago().await;
    let mut wrong = Vec::new();
    for Fixture { provider, file, .. } in &fleet_fixtures::all() {
        let answer = scene.post_fixture(provider, file).await;
        if file == "bad_signature.form" {
            assert_refused(&answer, 401, "unauthorized");
            continue;
        }
        let told = (answer.header("content-type"), answer.body.as_str());
        assert_eq!((answer.status, told), (200, success(provider)), "{file}");
        scene.fleet.settled().await;
        let stored = scene.stored(answer.message_id()).await;
        let other = OTHERS.iter().find(|(name, _stored)| name == file);
        let expected = other.map_or((1, 0), |(_name, stored)| *stored);
        if stored != expected {
            wrong.push(format!("{provider}/{file}: {stored:?} instead of {expected:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    let dead: i64 = scene.value("SELECT count(*) FROM dead_letters").await;
    assert_eq!(dead, 2, "only the event without a vehicle and the one nested too deeply");
    scene.fleet.stop().await;
}

#[tokio::test]
async fn without_a_longer_retention_the_fixtures_are_too_old() {
    let scene = Scene::start().await;
    let answer = scene.post_fixture("niu", "n1s_single_battery.json").await;
    scene.fleet.settled().await;
    assert_eq!(scene.stored(answer.message_id()).await, (0, 1));
    let reason: String = scene.value("SELECT reason FROM dead_letters").await;
    assert_eq!(reason, "too_old");
    let vehicles: i64 = scene.value("SELECT count(*) FROM vehicles").await;
    assert_eq!(vehicles, 0);
}

#[tokio::test]
async fn every_row_leads_back_to_its_webhook() {
    let scene = Scene::long_ago().await;
    for (provider, file, path, id) in [
        ("niu", "n1s_single_battery.json", "{sn}", "NBTESTN1S0000001"),
        ("segway", "location.form", "{iotCode}", "860000000000017"),
        ("invers", "current_envelope.json", "{data,vehicle_id}", "AB1C2"),
    ] {
        let answer = scene.post_fixture(provider, file).await;
        scene.fleet.settled().await;
        let query = "SELECT t.provider, t.raw #>> $2::text::text[], v.provider_vehicle_id, t.received_at = v.last_seen_at
                       FROM telemetry t JOIN vehicles v USING (vehicle_id) WHERE t.message_id = $1";
        let row = scene.sql.query_one(query, &[&answer.message_id(), &path]).await.unwrap();
        let found: (&str, &str, &str, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
        assert_eq!(found, (provider, id, id, true));
    }
    let sn: String = scene.value("SELECT raw->>'sn' FROM telemetry WHERE provider = 'niu'").await;
    assert_eq!(sn, "NBTESTN1S0000001");
    let topic: String =
        scene.value("SELECT topic || ' ' || kind FROM telemetry WHERE provider = 'segway'").await;
    assert_eq!(topic, "vehicle/location location");
}

#[tokio::test]
async fn a_webhook_posted_twice_is_one_row() {
    let scene = Scene::long_ago().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        for (provider, file) in [
            ("niu", "dual_battery.json"),
            ("segway", "status_v2.form"),
            ("invers", "legacy_event_status.json"),
        ] {
            let answer = scene.post_fixture(provider, file).await;
            assert_eq!(answer.status, 200);
            ids.push(answer.message_id());
        }
    }
    scene.fleet.settled().await;
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6, "each post is a message of its own");
    let rows: i64 = scene.value("SELECT count(*) FROM telemetry").await;
    let settled: i64 = scene.value("SELECT sum(inserted) * 10 + sum(duplicate) FROM settled_batches").await;
    assert_eq!((rows, settled), (3, 33), "three inserted, three found again");
}
