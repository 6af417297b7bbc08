//! The webhooks of the providers. Implemented here again, so that the rehearsal shares no code with the
//! services.

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};

pub(super) const NIU_TOKEN: &str = "rehearsal-niu-token";
pub(super) const INVERS_TOKEN: &str = "rehearsal-invers-token";

/// The vehicles of each provider. They report in turn.
const VEHICLES: u64 = 8_000;

/// The time between two reports of a vehicle. All reports are dated within the past hours.
const INTERVAL: SignedDuration = SignedDuration::from_secs(5);

/// An array of NIU reports: number `first` and the following ones. Every number is a different event.
pub(super) fn niu(start: Timestamp, first: u64, events: u64) -> String {
    let mut body = String::from("[");
    for number in first..first + events {
        let separator = if number == first { "" } else { "," };
        let at = time_of(start, number).as_millisecond();
        let vehicle = number % VEHICLES;
        let charge = 100 - number % 90;
        // Writing to a String cannot fail.
        let _ = write!(
            body,
            "{separator}{{\"sn\":\"RHNIU{vehicle:06}\",\"type\":\"status\",\"time\":{at},\"infoTimestamp\":{at},\
             \"gpsTimestamp\":{at},\"postion\":{{\"lat\":52.5{vehicle:05},\"lng\":13.4{vehicle:05}}},\"hdop\":1,\"gps\":5,\
             \"gsm\":20,\"isAccOn\":1,\"lockStatus\":1,\"isFortificationOn\":0,\"isCharging\":0,\"isConnected\":true,\
             \"ss_online_sta\":\"1\",\"ss_protocol_ver\":3,\"nowSpeed\":23,\"estimatedMileage\":39,\"totalMileage\":1089.398,\
             \"centreCtrlBattery\":100,\"leftTime\":\"17.0\",\"batteries\":{{\"compartmentA\":{{\"bmsId\":\
             \"BN1RH{vehicle:06}\",\"isConnected\":true,\"batteryCharging\":{charge},\"gradeBattery\":\"99.2\"}}}}}}"
        );
    }
    body.push(']');
    body
}

/// One INVERS report.
pub(super) fn invers(start: Timestamp, number: u64) -> String {
    let at = time_of(start, number);
    let vehicle = number % VEHICLES;
    format!(
        "{{\"metadata\":{{\"id\":\"RH-{number}\",\"type\":\"VehicleStateRecorded\",\"schema_major_version\":2,\
         \"occurred_at\":\"{at}\"}},\"data\":{{\"vehicle_id\":\"RH{vehicle:06}\",\"vehicle_state\":{{\
         \"position\":{{\"timestamp\":\"{at}\",\"value\":{{\"lat\":50.8{vehicle:05},\"lon\":8.0{vehicle:05}}}}},\
         \"central_lock\":{{\"timestamp\":\"{at}\",\"value\":\"LOCKED\"}}}}}}}}"
    )
}

/// The bytes of an event in an array of NIU reports.
pub(super) fn event_bytes() -> f64 {
    const EVENTS: u32 = 100;
    let body = niu(Timestamp::now(), 0, u64::from(EVENTS));
    f64::from(u32::try_from(body.len()).unwrap_or(u32::MAX)) / f64::from(EVENTS)
}

fn time_of(start: Timestamp, number: u64) -> Timestamp {
    let round = i32::try_from(number / VEHICLES).unwrap_or(i32::MAX);
    start.saturating_add(INTERVAL.saturating_mul(round)).unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{VEHICLES, event_bytes, invers, niu};

    #[test]
    fn an_array_holds_as_many_events_as_asked_for() {
        let body = niu(Timestamp::UNIX_EPOCH, 7, 100);
        let events: Vec<yaml_serde::Value> = yaml_serde::from_str(&body).unwrap();
        assert_eq!(events.len(), 100);
        assert!((400.0..700.0).contains(&event_bytes()));
    }

    #[test]
    fn a_vehicle_reports_later_each_time() {
        let (first, second) = (invers(Timestamp::UNIX_EPOCH, 3), invers(Timestamp::UNIX_EPOCH, 3 + VEHICLES));
        assert!(first.contains("\"occurred_at\":\"1970-01-01T00:00:00Z\""), "{first}");
        assert!(second.contains("\"occurred_at\":\"1970-01-01T00:00:05Z\""), "{second}");
        assert!([first, second].iter().all(|body| body.contains("RH000003")));
    }
}
