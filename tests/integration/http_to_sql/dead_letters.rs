//! Data that cannot be stored is kept with its reason, and does not affect other data.

use fleet_queue::Envelope;
use jiff::Timestamp;
use uuid::Uuid;

use super::scene::Scene;
use crate::answers::client::{FORM, signed};
use crate::support::SEGWAY_SECRET;

/// Bodies that the API accepts from NIU and that cannot be stored, with their reasons and the event concerned.
fn poison() -> Vec<(Vec<u8>, &'static str, i32)> {
    let deep = format!(r#"{{"sn":"A1","x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let many = format!("[{}]", vec![r#"{"sn":"A1"}"#; 10_001].join(","));
    vec![
        (b"{\"sn\":\"\xff\xfe\"}".to_vec(), "invalid_character", 0),
        (br#"{"sn":"A1\u0000"}"#.to_vec(), "invalid_character", 0),
        (b"{\"sn\":\"A1\",\"x\":\"\0\"}".to_vec(), "unparsable", -1),
        (br#"{"sn":"A1\ud800"}"#.to_vec(), "invalid_character", 0),
        (deep.into_bytes(), "too_deep", -1),
        (many.into_bytes(), "too_many_events", -1),
        (b"not json".to_vec(), "unparsable", -1),
        (b"{\"sn\":\"A1\"".to_vec(), "unparsable", -1),
        (br#"{"type":"status"}"#.to_vec(), "missing_vehicle_id", 0),
        (br#"{"sn":"A1","infoTimestamp":1700000000}"#.to_vec(), "too_old", 0),
    ]
}

async fn assert_dead(scene: &Scene, message: Uuid, body: &[u8], reason: &str, event_index: i32) {
    let query = "SELECT reason, event_index, attempts, provider, message.envelope, detail
                   FROM dead_letters JOIN dead_messages AS message USING (message_id) WHERE message_id = $1";
    let row = scene.sql.query_one(query, &[&message]).await.unwrap();
    let found: (&str, i32, i32, &str) = (row.get(0), row.get(1), row.get(2), row.get(3));
    assert_eq!(found, (reason, event_index, 1, "niu"));
    let envelope: &[u8] = row.get(4);
    let envelope = Envelope::decode(envelope).unwrap();
    assert_eq!(envelope.message_id, message);
    assert!(envelope.body == body, "{reason}: the body differs from what was sent");
    let detail: &str = row.get(5);
    assert!(!detail.is_empty() && detail.is_ascii(), "{detail}");
    assert_eq!(scene.stored(message).await, (0, 1));
}

#[tokio::test]
async fn each_is_kept_with_its_reason_and_its_bytes() {
    let scene = Scene::start().await;
    let mut sent = Vec::new();
    for (body, reason, event_index) in poison() {
        let message = scene.take(body.clone()).await;
        sent.push((message, body, reason, event_index));
    }
    scene.fleet.settled().await;
    for (message, body, reason, event_index) in sent {
        assert_dead(&scene, message, &body, reason, event_index).await;
    }
    let vehicles: i64 = scene.value("SELECT count(*) FROM vehicles").await;
    assert_eq!(vehicles, 0, "dead letters change no vehicle state");
    scene.fleet.stop().await;
}

#[tokio::test]
async fn among_good_ones_in_one_batch() {
    let mut scene = Scene::api_only(&[]).await;
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (index, (body, reason, event_index)) in poison().into_iter().enumerate() {
        good.push(scene.take(format!(r#"{{"sn":"GOOD{index}","isAccOn":1}}"#)).await);
        bad.push((scene.take(body.clone()).await, body, reason, event_index));
    }
    scene.fleet.start_consumer();
    scene.fleet.settled().await;
    for (message, body, reason, event_index) in &bad {
        assert_dead(&scene, *message, body, reason, *event_index).await;
    }
    for message in &good {
        assert_eq!(scene.stored(*message).await, (1, 0));
    }
    let on: i64 = scene.value("SELECT count(*) FROM vehicles WHERE powered_on").await;
    assert_eq!(usize::try_from(on).unwrap(), good.len());
    let counted: (i64, i64) = {
        let query = "SELECT sum(inserted), sum(dead_lettered) FROM settled_batches";
        let row = scene.sql.query_one(query, &[]).await.unwrap();
        (row.get(0), row.get(1))
    };
    let each = i64::try_from(good.len()).unwrap();
    assert_eq!(counted, (each, each));
    let batches: i64 = scene.value("SELECT count(DISTINCT lease_id) FROM settled_batches").await;
    assert_eq!(batches, 1, "the valid messages were stored with the same batch");
}

#[tokio::test]
async fn one_bad_event_of_an_array_does_not_lose_the_others() {
    let scene = Scene::start().await;
    let now = Timestamp::now().as_millisecond();
    let body = format!(
        r#"[{{"sn":"A1","infoTimestamp":{now}}},7,{{"sn":" "}},{{"sn":"A2","infoTimestamp":1700000000}},{{"sn":"A3","infoTimestamp":{now},"nowSpeed":1e999,"isAccOn":true}}]"#
    );
    let message = scene.take(body).await;
    scene.fleet.settled().await;
    assert_eq!(scene.stored(message).await, (2, 3));
    let dead: String = scene
        .value("SELECT string_agg(event_index || ':' || reason, ' ' ORDER BY event_index) FROM dead_letters")
        .await;
    assert_eq!(dead, "1:unparsable 2:missing_vehicle_id 3:too_old");
    let known: String = scene
        .value("SELECT string_agg(provider_vehicle_id, ' ' ORDER BY provider_vehicle_id) FROM vehicles")
        .await;
    assert_eq!(known, "A1 A3");
    let third = scene.vehicle("A3").await;
    assert_eq!(third["powered_on"], true);
    assert!(third["speed_kmh"].is_null(), "an invalid value is left out: {third}");
}

#[tokio::test]
async fn a_form_with_a_character_that_cannot_be_stored_loses_that_character() {
    let scene = Scene::start().await;
    // Segway signs the decoded value.
    let body = signed("iotCode=1&speed=7&x=\0", SEGWAY_SECRET).replace('\0', "%00");
    let answer = scene.post("segway", "vehicle/status", FORM, body).await;
    assert_eq!(answer.status, 200, "the API does not parse");
    scene.fleet.settled().await;
    let raw: String = scene.value("SELECT raw->>'x' FROM telemetry").await;
    assert_eq!(raw, "\u{fffd}");
    let speed: f64 = scene.value("SELECT speed_kmh FROM vehicles").await;
    assert!((speed - 7.0).abs() < 1e-9);
}

/// Odd bodies and content types: the API, the queue and the consumer must interpret them alike.
#[tokio::test]
async fn a_body_is_what_it_is_and_not_what_it_is_called() {
    let scene = Scene::start().await;
    let form = signed("iotCode=1&locked=true", SEGWAY_SECRET);
    let json = ("content-type", "application/json");
    let marked = |body: &str| format!("\u{feff}{body}\r\n");
    let niu = |name: &str| format!(r#"{{"sn":"{name}","nowSpeed":7}}"#);
    for (provider, media_type, body) in [
        ("segway", json, form.clone()),
        ("segway", FORM, marked(&form)),
        ("niu", FORM, niu("N1")),
        ("niu", json, marked(&niu("N2"))),
        ("niu", ("content-encoding", "utf-8"), niu("N3")),
        ("niu", ("content-encoding", ""), niu("N4")),
    ] {
        let message = scene.post(provider, "", media_type, body).await.message_id();
        scene.fleet.settled().await;
        assert_eq!(scene.stored(message).await, (1, 0), "{provider} {media_type:?}");
    }
    let known: i64 = scene.value("SELECT count(*) FROM vehicles WHERE locked OR speed_kmh = 7").await;
    assert_eq!(known, 5);
}
