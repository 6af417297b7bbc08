//! Which events a replay reads, and which it does not.

use super::stage::{ALL, Stage, count};

/// Three reports of one vehicle, a minute apart. Each has another speed.
async fn three_minutes() -> Stage {
    let report = |minute: i64| {
        let time = 1_718_000_000_000 + minute * 60_000;
        format!(r#"{{"sn":"MINUTES","infoTimestamp":{time},"nowSpeed":{minute}}}"#)
    };
    Stage::with_reports("2024-06-10T08:00:00Z", &[report(0), report(1), report(2)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_range_has_its_beginning_and_not_its_end() {
    let stage = three_minutes().await;
    for (from, to, events, speed) in [
        ("2024-06-10T06:13:20Z", "2024-06-10T06:14:20Z", 1, Some(0.0)),
        ("2024-06-10T06:13:20Z", "2024-06-10T06:14:20.000001Z", 2, Some(1.0)),
        ("2024-06-10T06:13:20.000001Z", "2024-06-10T06:15:20Z", 1, Some(1.0)),
        ("2024-06-10T08:14:20+02:00", "2024-06-10T08:16:00+02:00", 2, Some(2.0)),
        ("2024-06-10", "2024-06-11", 3, Some(2.0)),
        ("2024-06-11", "2124-06-11", 0, None),
        ("0001-01-01", "9999-12-30", 3, Some(2.0)),
    ] {
        stage.execute("TRUNCATE vehicles").await;
        let report = stage.replayed(&["--from", from, "--to", to]).await;
        assert_eq!(count(&report, "events read"), events, "{from} to {to}: {report}");
        let found: Option<f64> = stage.value("SELECT max(speed_kmh) FROM vehicles").await;
        assert_eq!(found, speed, "{from} to {to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_provider_alone() {
    let stage = Stage::with_fixtures().await;
    let query = "SELECT coalesce(string_agg(to_jsonb(v)::text, ' ' ORDER BY vehicle_id), '') FROM vehicles v WHERE provider = 'segway'";
    let before: String = stage.value(query).await;
    let events: i64 = stage.value("SELECT count(*) FROM telemetry WHERE provider = 'segway'").await;
    stage.execute("TRUNCATE vehicles").await;
    let report = stage.replayed(&[&ALL[..], &["--provider", "segway"]].concat()).await;
    assert_eq!(count(&report, "events read"), u64::try_from(events).unwrap(), "{report}");
    assert_eq!(stage.value::<String>(query).await, before);
    assert_eq!(stage.value::<i64>("SELECT count(*) FROM vehicles WHERE provider <> 'segway'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_telemetry_there_is_nothing_to_do() {
    let stage = Stage::empty().await;
    for more in [&[][..], &["--dry-run"]] {
        let report = stage.replayed(&[&ALL[..], more].concat()).await;
        assert_eq!(count(&report, "events read"), 0, "{report}");
        assert_eq!(count(&report, "vehicles created"), 0, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_that_makes_no_sense_is_refused() {
    let stage = Stage::empty().await;
    for (arguments, says) in [
        (&["--from", "2024-06-10", "--to", "2024-06-10"][..], "--from must be before --to"),
        (&["--from", "2024-06-11", "--to", "2024-06-10"], "--from must be before --to"),
        (&["--from", "yesterday", "--to", "2024-06-10"], "write 2026-01-31T12:00:00Z, or 2026-01-31"),
        (&["--from", "2024-06-10"], "--to"),
        (&["--from", "2024-06-10", "--to", "2024-06-11", "--provider", "nui"], "niu"),
    ] {
        let ended = stage.replay(arguments).await;
        assert_eq!(ended.code, Some(64), "{arguments:?}: {ended:?}");
        assert!(ended.errors.contains(says), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_its_schema_says_what_to_run() {
    let stage = Stage::empty().await;
    stage.execute("DELETE FROM fleet_telemetry_migrations").await;
    let ended = stage.replay(&ALL).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.errors.contains("run `fleet-consumer migrate`"), "{ended:?}");
}
