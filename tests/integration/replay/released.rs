//! Rows that the previous release wrote, with other rules for times and ties.

use super::stage::{ALL, Stage, count};

/// The expected vehicles after the replay: latitude and time, locked, powered on, all times in UTC.
const EXPECTED: &str = "\
REL-1999 52.2 at 06:13:20
REL-AHEAD 52.1 at 06:13:30
REL-ARRAY locked true at 06:13:20
REL-LOWER on at 06:13:30
REL-MICROS on at 06:13:30
REL-PLAIN 52.4 at 06:13:20 on at 06:13:20
REL-TIE locked false at 06:13:20
REL-ZERO 52.3 at 06:13:20";

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_the_release_before_are_replayed_under_the_rules_of_this_one() {
    let stage = Stage::empty().await;
    stage.execute(include_str!("released.sql")).await;
    let found = "SELECT string_agg(concat_ws(' ', provider_vehicle_id,
                        lat || ' at ' || to_char(position_at AT TIME ZONE 'UTC', 'HH24:MI:SS'),
                        'locked ' || locked || ' at ' || to_char(locked_at AT TIME ZONE 'UTC', 'HH24:MI:SS'),
                        CASE WHEN powered_on THEN 'on at ' || to_char(powered_on_at AT TIME ZONE 'UTC', 'HH24:MI:SS') END),
                        E'\\n' ORDER BY provider_vehicle_id) FROM vehicles";
    let raw =
        "SELECT md5(string_agg(raw::text || event_id || observed_at, ' ' ORDER BY event_id)) FROM telemetry";
    let untouched: String = stage.value(raw).await;
    let report = stage.replayed(&ALL).await;
    // A clock that had lost its date, and a time of zero, had frozen two positions. In the third vehicle the later of
    // two locks had not won.
    assert_eq!(count(&report, "vehicles changed"), 3, "{report}");
    assert_eq!(count(&report, "vehicles created"), 0, "{report}");
    assert_eq!(count(&report, "events that can no longer be parsed"), 0, "{report}");
    // Two times that can be read now belong to another row of telemetry; the rows stay.
    assert_eq!(count(&report, "events with another"), 2, "{report}");
    assert_eq!(stage.value::<String>(found).await, EXPECTED, "{report}");
    assert_eq!(stage.value::<String>(raw).await, untouched);

    let again = stage.replayed(&ALL).await;
    assert_eq!(count(&again, "vehicles changed"), 0, "{again}");
}

/// The replay reads the newer window first. It must keep the time of receipt even if this alone changes nothing, or the
/// older window would win.
#[tokio::test(flavor = "multi_thread")]
async fn a_tie_over_two_windows_is_won_by_the_later_receipt() {
    let stage = Stage::empty().await;
    let lock = |observed: &str, value: &str| {
        format!(
            r#"{{"metadata":{{"id":"{observed}","type":"VehicleStateRecorded","occurred_at":"{observed}"}},"data":{{"vehicle_id":"REL-WINDOWS","central_lock":{{"timestamp":"2024-06-09T20:00:00Z","value":"{value}"}}}}}}"#
        )
    };
    for (received, observed, value) in [
        ("2024-06-09T20:00:05Z", "2024-06-09T20:00:04Z", "UNLOCKED"),
        ("2024-06-10T08:00:05Z", "2024-06-10T08:00:04Z", "LOCKED"),
    ] {
        let body = lock(observed, value).into_bytes();
        stage.push("invers", "", "application/json", received.parse().unwrap(), &[body]).await;
    }
    stage.fleet.settled().await;
    // As the previous release stored it.
    stage.execute("UPDATE vehicles SET locked_received_at = NULL").await;
    let dry = [&ALL[..], &["--dry-run"]].concat();
    for arguments in [&dry[..], &ALL[..], &ALL[..]] {
        let report = stage.replayed(arguments).await;
        assert_eq!(count(&report, "vehicles changed"), 0, "{report}");
        assert!(stage.value::<bool>("SELECT locked FROM vehicles").await, "{report}");
    }
}
