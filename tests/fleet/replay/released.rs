//! Rows that the release before wrote, under other rules for times and ties.

use super::stage::{ALL, Stage, count};

/// What the replay makes of each vehicle: its latitude and time, locked, powered on, in UTC.
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
    // A clock that had lost its date, and a zero, had frozen two positions; the later of two locks had not won.
    assert_eq!(count(&report, "vehicles changed"), 3, "{report}");
    assert_eq!(count(&report, "vehicles created"), 0, "{report}");
    assert_eq!(count(&report, "events that do not parse any more"), 0, "{report}");
    // Two times that can be read now belong to another row of telemetry; the rows stay.
    assert_eq!(count(&report, "events with another"), 2, "{report}");
    assert_eq!(stage.value::<String>(found).await, EXPECTED, "{report}");
    assert_eq!(stage.value::<String>(raw).await, untouched);

    let again = stage.replayed(&ALL).await;
    assert_eq!(count(&again, "vehicles changed"), 0, "{again}");
}
