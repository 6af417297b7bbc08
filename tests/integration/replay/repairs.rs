//! A replay repairs rows that are damaged or were parsed wrongly, and changes nothing else.

use super::stage::{ALL, Stage, count};

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_state_comes_back_and_a_second_replay_writes_nothing() {
    let stage = Stage::with_fixtures().await;
    let before = stage.vehicles().await;
    for provider in fleet_providers::PROVIDERS {
        assert!(before.contains(&format!(r#""provider": "{}""#, provider.slug)), "{before}");
    }
    stage.execute("TRUNCATE vehicles").await;
    let report = stage.replayed(&ALL).await;
    assert_eq!(stage.vehicles().await, before);
    let events: i64 = stage.value("SELECT count(*) FROM telemetry").await;
    assert_eq!(count(&report, "events read"), u64::try_from(events).unwrap());
    assert_eq!(count(&report, "vehicles created"), before.lines().count() as u64);
    for nothing in
        ["events that can no longer be parsed", "events with another", "telemetry rows", "vehicles changed"]
    {
        assert_eq!(count(&report, nothing), 0, "{report}");
    }
    let audit = stage.audit().await;
    assert_eq!(audit.code, Some(0), "{audit:?}");

    let versions = stage.versions().await;
    let again = stage.replayed(&ALL).await;
    assert_eq!((count(&again, "vehicles created"), count(&again, "vehicles changed")), (0, 0), "{again}");
    assert_eq!(stage.versions().await, versions);
}

#[tokio::test(flavor = "multi_thread")]
async fn cleared_attributes_come_back_and_a_dry_run_only_says_so() {
    let stage = Stage::with_fixtures().await;
    let before = stage.vehicles().await;
    let cleared = "UPDATE vehicles SET battery_percent = NULL, battery_at = NULL WHERE provider_vehicle_id = 'NBTESTN1S0000001';
         UPDATE vehicles SET locked = NULL WHERE provider_vehicle_id = '860000000000017';
         UPDATE vehicles SET lat = NULL, lon = NULL, position_at = NULL, driving_enabled = NULL
          WHERE provider_vehicle_id = 'AB1C2'";
    stage.execute(cleared).await;
    assert_ne!(stage.vehicles().await, before);
    let versions = stage.versions().await;
    let dry = stage.replayed(&[&ALL[..], &["--dry-run"]].concat()).await;
    assert_eq!(stage.versions().await, versions, "a dry run writes nothing");
    assert!(dry.contains("nothing was written"), "{dry}");
    assert_eq!(count(&dry, "vehicles changed"), 3, "{dry}");
    let battery: f64 = stage
        .value(
            "SELECT battery_percent FROM telemetry WHERE raw->>'sn' = 'NBTESTN1S0000001' AND battery_percent IS NOT NULL
              ORDER BY observed_at DESC, battery_percent DESC LIMIT 1",
        )
        .await;
    let told = dry.lines().any(|line| {
        line.contains("niu NBTESTN1S0000001")
            && line.contains("battery_percent")
            && line.contains(&format!("{battery} at "))
    });
    assert!(told, "{dry}");

    let report = stage.replayed(&ALL).await;
    assert_eq!(stage.vehicles().await, before);
    assert_eq!(dry.split_once('\n').unwrap().1, report, "the dry run matches the replay");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_telemetry_that_were_misread_are_corrected() {
    let stage = Stage::with_fixtures().await;
    let columns = "SELECT string_agg(concat_ws(',', event_id, lat, lon, speed_kmh, battery_percent, kind, raw), ' ' ORDER BY event_id) FROM telemetry";
    let before: String = stage.value(columns).await;
    let damaged = "UPDATE telemetry SET lat = NULL, lon = NULL WHERE provider = 'invers' AND lat IS NOT NULL;
         UPDATE telemetry SET speed_kmh = 399 WHERE raw->>'sn' = 'NBTESTN1S0000001';
         UPDATE telemetry SET battery_percent = 1 WHERE provider = 'segway' AND battery_percent IS NULL";
    stage.execute(damaged).await;
    let damaged: i64 = stage
        .value("SELECT count(*) FROM telemetry WHERE xmin = (SELECT max(xmin::text::int8)::text::xid FROM telemetry) OR speed_kmh = 399 OR provider = 'invers' AND lat IS NULL")
        .await;
    assert!(damaged > 3, "{damaged}");
    let dry = stage.replayed(&[&ALL[..], &["--dry-run"]].concat()).await;
    let report = stage.replayed(&ALL).await;
    assert_eq!(count(&dry, "telemetry rows"), count(&report, "telemetry rows"));
    assert!(count(&report, "telemetry rows") > 3, "{report}");
    assert_eq!(stage.value::<String>(columns).await, before);
    assert_eq!(count(&report, "vehicles changed"), 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_changed_beyond_recognition_keep_their_rows() {
    let stage = Stage::with_fixtures().await;
    stage
        .execute(
            "INSERT INTO telemetry (vehicle_id, observed_at, event_id, received_at, message_id, provider, topic, kind, raw)
             SELECT gen_random_uuid(), '2024-06-10T06:13:20Z', gen_random_uuid(), '2024-06-10T06:13:30Z',
                    gen_random_uuid(), provider, '', 'status', raw::json
               FROM (VALUES ('niu', '{\"no\":\"vehicle\"}'), ('niu', '{\"sn\":\"FOUND\",\"nowSpeed\":7}'),
                            ('niu', '{\"sn\":\"OLD\",\"time\":1600000000}'), ('gone', '{}')) AS new (provider, raw)",
        )
        .await;
    let rows = "SELECT string_agg(xmin::text || ctid::text, ' ' ORDER BY event_id) FROM telemetry";
    let versions: String = stage.value(rows).await;
    let report = stage.replayed(&ALL).await;
    assert_eq!(count(&report, "events that can no longer be parsed"), 3, "{report}");
    for reason in ["missing_vehicle_id", "too_old", "unknown_provider"] {
        assert!(report.contains(reason), "{report}");
    }
    assert_eq!(count(&report, "events with another vehicle"), 1, "{report}");
    assert_eq!(count(&report, "vehicles created"), 1, "{report}");
    let speed: f64 = stage.value("SELECT speed_kmh FROM vehicles WHERE provider_vehicle_id = 'FOUND'").await;
    assert!((speed - 7.0).abs() < 1e-9, "{speed}");
    assert_eq!(stage.value::<String>(rows).await, versions);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_newer_is_turned_back() {
    let stage = Stage::with_fixtures().await;
    stage
        .execute("UPDATE vehicles SET battery_percent = 3, battery_at = battery_at + INTERVAL '1 second'")
        .await;
    let before = stage.vehicles().await;
    let report = stage.replayed(&ALL).await;
    assert_eq!(count(&report, "vehicles changed"), 0, "{report}");
    assert_eq!(stage.vehicles().await, before);
}
