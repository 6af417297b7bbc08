//! Times that the providers' clocks can send, and how they are interpreted.

use jiff::Timestamp;

use super::scene::Scene;
use crate::answers::client::{FORM, signed};
use crate::support::SEGWAY_SECRET;

const MINUTE_MS: i64 = 60_000;
const YEAR_MS: i64 = 365 * 24 * 60 * MINUTE_MS;

/// Posts a report of a vehicle at `lat` with `time` as its text. Without `time`, the report has none.
async fn take(scene: &Scene, provider: &str, vehicle: &str, lat: f64, time: Option<&str>) -> uuid::Uuid {
    let json = ("content-type", "application/json");
    let (topic, media_type, body) = match provider {
        "niu" => {
            let time = time
                .map_or_else(String::new, |time| format!(r#","infoTimestamp":{time},"gpsTimestamp":{time}"#));
            ("", json, format!(r#"{{"sn":"{vehicle}","postion":{{"lat":{lat},"lng":13.4}}{time}}}"#))
        }
        "segway" => {
            let time = time.map_or_else(String::new, |time| format!("&gpsUtcTime={time}"));
            let form = format!("iotCode={vehicle}&latitude={lat}&longitude=13.4{time}");
            ("vehicle/location", FORM, signed(&form, SEGWAY_SECRET))
        }
        _ => {
            let (at, fixed_at) = time.map_or_else(<(String, String)>::default, |time| {
                (format!(r#","occurred_at":{time}"#), format!(r#","timestamp":{time}"#))
            });
            let position = format!(r#"{{"value":{{"lat":{lat},"lon":13.4}}{fixed_at}}}"#);
            let metadata = format!(r#"{{"type":"VehicleStateRecorded"{at}}}"#);
            let data = format!(r#"{{"vehicle_id":"{vehicle}","vehicle_state":{{"position":{position}}}}}"#);
            ("", json, format!(r#"{{"metadata":{metadata},"data":{data}}}"#))
        }
    };
    let answer = scene.post(provider, topic, media_type, body).await;
    assert_eq!(answer.status, 200, "{provider}");
    answer.message_id()
}

/// The vehicle's latitude, how many milliseconds before receipt the position was taken, and whether its clock was
/// marked as wrong.
async fn position(scene: &Scene, vehicle: &str) -> (f64, i64, bool) {
    let query = "SELECT lat, (extract(epoch FROM last_seen_at - position_at) * 1000)::bigint,
                        clock_skewed_at IS NOT NULL
                   FROM vehicles WHERE provider_vehicle_id = $1";
    let row = scene.sql.query_one(query, &[&vehicle]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

#[tokio::test]
async fn every_providers_times_are_judged_alike() {
    let scene = Scene::start().await;
    for provider in ["niu", "segway", "invers"] {
        let now_ms = Timestamp::now().as_millisecond();
        let ms = |ago_ms: i64| (now_ms - ago_ms).to_string();
        let seconds = ((now_ms - MINUTE_MS) / 1000).to_string();
        // The written time and its age. The age is absent if the time cannot be right.
        let cases = [
            ("MS", Some(ms(MINUTE_MS)), Some(MINUTE_MS)),
            ("SECONDS", Some(seconds), Some(MINUTE_MS)),
            ("MISSING", None, None),
            ("ZERO", Some("0".to_owned()), None),
            ("FUTURE", Some(ms(-YEAR_MS)), None),
            ("WEEKS_1024", Some(ms(1024 * 7 * 24 * 60 * MINUTE_MS)), None),
            ("YEAR_1999", Some("930000000000".to_owned()), None),
            ("UNREADABLE", Some("\"at noon\"".to_owned()), None),
            ("MICROSECONDS", Some(format!("{}000", now_ms - MINUTE_MS)), Some(MINUTE_MS)),
        ];
        for (name, time, _) in &cases {
            take(&scene, provider, &format!("{provider}-{name}"), 52.1, time.as_deref()).await;
        }
        let old =
            take(&scene, provider, &format!("{provider}-OLD"), 52.1, Some(&ms(200 * 24 * 60 * MINUTE_MS)))
                .await;
        scene.fleet.settled().await;
        assert_eq!(scene.stored(old).await, (0, 1), "{provider}: older than the retention");
        for (name, _, ago_ms) in &cases {
            let (lat, found_ms, skewed) = position(&scene, &format!("{provider}-{name}")).await;
            let expected_ms = ago_ms.unwrap_or_default();
            // A busy machine may need a while between writing the time and receiving it.
            assert!((expected_ms..expected_ms + 30_000).contains(&found_ms), "{provider} {name}: {found_ms}");
            assert_eq!(lat.to_bits(), 52.1_f64.to_bits());
            let is_marked = ["FUTURE", "WEEKS_1024", "YEAR_1999", "UNREADABLE"].contains(name);
            assert_eq!(skewed, is_marked, "{provider} {name}");
        }
        // A newer report updates each of them, and an older report that arrives later changes none of them.
        for (name, _, _) in &cases {
            let vehicle = format!("{provider}-{name}");
            take(&scene, provider, &vehicle, 53.5, Some(&Timestamp::now().as_millisecond().to_string()))
                .await;
            take(&scene, provider, &vehicle, 48.1, Some(&ms(10 * MINUTE_MS))).await;
        }
        scene.fleet.settled().await;
        for (name, _, _) in &cases {
            let (lat, ..) = position(&scene, &format!("{provider}-{name}")).await;
            assert_eq!(lat.to_bits(), 53.5_f64.to_bits(), "{provider} {name}");
        }
    }
    let reasons: i64 = scene.value("SELECT count(*) FROM dead_letters WHERE reason = 'too_old'").await;
    assert_eq!(reasons, 3);
}
