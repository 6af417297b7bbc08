//! Streams: snapshot, changes, vehicles that leave, coming back, slow readers, the end of the service.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::events::Stream;
use super::fleet::{id, insert, place, set, update, vehicle_at};
use super::rig::Rig;

async fn open(rig: &Rig, query: &str) -> Stream {
    Stream::open(rig.service.request(&format!("/v1/vehicles/stream?{query}"))).await
}

async fn resume(rig: &Rig, query: &str, last_event_id: &str) -> Stream {
    let request = rig.service.request(&format!("/v1/vehicles/stream?{query}"));
    Stream::open(request.header("last-event-id", last_event_id)).await
}

#[tokio::test]
async fn a_stream_tells_what_enters_changes_and_leaves() {
    let (mut inside, outside) = (vehicle_at("inside", 1.0, 1.0), vehicle_at("outside", 9.0, 9.0));
    let rig = Rig::start(&[inside.clone(), outside.clone()]).await;
    let mut stream = open(&rig, "bbox=0,0,2,2").await;
    let snapshot = stream.until("snapshot").await;
    assert_eq!(snapshot.data["vehicles"], 1);
    assert_eq!(stream.last_event_id, "", "until the snapshot is complete, there is nothing to come back to");
    stream.until("heartbeat").await;
    assert_eq!(stream.vehicles.keys().copied().collect::<Vec<_>>(), [id(&inside)]);
    assert_ne!(stream.last_event_id, "");

    place(&mut inside, 1.5, 1.5, Timestamp::now());
    update(&rig.client, &inside).await;
    let changed = stream.until("vehicle").await;
    assert_eq!((changed.data["lat"].as_f64(), id(&changed.data)), (Some(1.5), id(&inside)));

    let mut entering = outside.clone();
    place(&mut entering, 0.5, 0.5, Timestamp::now());
    update(&rig.client, &entering).await;
    assert_eq!(id(&stream.until("vehicle").await.data), id(&outside));

    place(&mut inside, 5.0, 5.0, Timestamp::now());
    update(&rig.client, &inside).await;
    assert_eq!(stream.until("gone").await.data, json!({ "vehicle_id": id(&inside) }));

    rig.client.execute("DELETE FROM vehicles WHERE vehicle_id = $1", &[&id(&outside)]).await.unwrap();
    assert_eq!(id(&stream.until("gone").await.data), id(&outside));
    assert!(stream.vehicles.is_empty());
}

#[tokio::test]
async fn a_vehicle_leaves_by_mere_age() {
    let mut old = vehicle_at("old", 1.0, 1.0);
    let at = Timestamp::now() - SignedDuration::from_secs(57);
    place(&mut old, 1.0, 1.0, at);
    let rig = Rig::start(&[old.clone(), vehicle_at("new", 1.0, 1.0)]).await;
    let mut stream = open(&rig, "position_within=1m").await;
    let gone = stream.until("gone").await;
    assert_eq!(id(&gone.data), id(&old));
    assert!(Timestamp::now().duration_since(at) >= SignedDuration::from_secs(60));
    assert_eq!(stream.vehicles.len(), 1);
    place(&mut old, 1.0, 1.0, Timestamp::now());
    update(&rig.client, &old).await;
    stream.until_vehicles(|vehicles| vehicles.len() == 2).await;
}

#[tokio::test]
async fn a_stream_goes_on_where_it_ended() {
    let mut moving = vehicle_at("moving", 1.0, 1.0);
    let rig = Rig::start(&[moving.clone(), vehicle_at("standing", 1.0, 1.0)]).await;
    let mut stream = open(&rig, "bbox=0,0,2,2").await;
    stream.until("heartbeat").await;
    let last = stream.last_event_id.clone();
    drop(stream);
    set(&mut moving, "lat", json!(1.25));
    update(&rig.client, &moving).await;
    rig.service.fresh().await;
    let mut back = resume(&rig, "bbox=0,0,2,2", &last).await;
    let event = back.next().await.unwrap();
    assert_eq!((event.name.as_str(), &event.data["lat"]), ("vehicle", &json!(1.25)), "no snapshot");

    for (query, id) in [
        ("bbox=0,0,3,3", last.as_str()),
        ("bbox=0,0,2,2", "x"),
        ("bbox=0,0,2,2", &format!("{last}ffff")),
        ("bbox=0,0,2,2&seen_within=1d", &last),
    ] {
        let mut other = resume(&rig, query, id).await;
        assert_eq!(other.next().await.unwrap().name, "snapshot", "{query} {id}");
    }
}

#[tokio::test]
async fn who_comes_back_too_late_gets_a_snapshot() {
    let mut moving = vehicle_at("moving", 1.0, 1.0);
    let rig = Rig::start_with(&[moving.clone()], &[("FLEET_QUERY__REMEMBERED_CHANGES", "3")]).await;
    let mut stream = open(&rig, "").await;
    stream.until("heartbeat").await;
    let last = stream.last_event_id.clone();
    for step in 1..=5 {
        set(&mut moving, "lat", json!(1.0 + f64::from(step) / 8.0));
        update(&rig.client, &moving).await;
        stream
            .until_vehicles(|vehicles| vehicles.values().all(|vehicle| vehicle["lat"] == moving["lat"]))
            .await;
    }
    let mut back = resume(&rig, "", &last).await;
    assert_eq!(back.next().await.unwrap().name, "snapshot");
    back.until("heartbeat").await;
    assert_eq!(back.vehicles[&id(&moving)]["lat"], 1.625);
}

/// The reader reads nothing while the fleet changes several times, so that the changes are forgotten before it reads them.
#[tokio::test]
async fn a_slow_reader_gets_a_snapshot_and_delays_nobody() {
    let fleet: Vec<_> = (0..3000).map(|n| vehicle_at(&format!("n{n}"), 1.0, 1.0)).collect();
    let rig = Rig::start_with(&fleet, &[("FLEET_QUERY__REMEMBERED_CHANGES", "4000")]).await;
    let (mut slow, mut quick) = (open(&rig, "").await, open(&rig, "").await);
    slow.until("snapshot").await;
    quick.until("heartbeat").await;
    for step in 1..=8 {
        let lat = 1.0 + f64::from(step) / 8.0;
        rig.client.execute("UPDATE vehicles SET lat = $1", &[&lat]).await.unwrap();
        let has_moved = |vehicle: &serde_json::Value| vehicle["lat"].as_f64() == Some(lat);
        quick.until_vehicles(|vehicles| vehicles.values().all(has_moved)).await;
    }
    slow.until("snapshot").await;
    slow.until_vehicles(|vehicles| {
        vehicles.len() == 3000 && vehicles.values().all(|vehicle| vehicle["lat"] == 2.0)
    })
    .await;
}

#[tokio::test]
async fn the_end_of_the_service_ends_its_streams_at_once() {
    let mut rig = Rig::start(&[vehicle_at("one", 1.0, 1.0)]).await;
    let mut streams = [open(&rig, "").await, open(&rig, "online=true").await];
    for stream in &mut streams {
        stream.until("heartbeat").await;
        assert_eq!(stream.retry_ms, Some(1000));
    }
    rig.service.stop();
    let started = std::time::Instant::now();
    for stream in &mut streams {
        while stream.next().await.is_some() {}
        assert_eq!(stream.retry_ms, Some(50), "come back at once");
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(rig.service.ended().await, "clean");
}

#[tokio::test]
async fn a_stream_of_nothing_has_heartbeats() {
    let rig = Rig::start(&[]).await;
    let mut stream = open(&rig, "provider=niu").await;
    let first: Timestamp = stream.until("heartbeat").await.data["as_of"].as_str().unwrap().parse().unwrap();
    for _ in 0..3 {
        stream.until("heartbeat").await;
    }
    let last: Timestamp = stream.until("heartbeat").await.data["as_of"].as_str().unwrap().parse().unwrap();
    assert!(last > first, "the knowledge is renewed also without changes");
    insert(&rig.client, &[vehicle_at("first", 1.0, 1.0)]).await;
    assert_eq!(stream.until("vehicle").await.data["provider_vehicle_id"], "first");
}
