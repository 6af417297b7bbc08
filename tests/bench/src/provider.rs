//! The webhooks of the three providers: valid, signed, and all of one size.

use clap::ValueEnum;
use jiff::Timestamp;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

/// The value of NIU's `token` header.
pub(crate) const NIU_TOKEN: &str = "bench-niu-token";
/// The secret that signs Segway's forms.
pub(crate) const SEGWAY_SECRET: &str = "bench-segway-secret";
/// INVERS' bearer token.
pub(crate) const INVERS_TOKEN: &str = "bench-invers-token";

/// The size of every status in bytes.
pub(crate) const BODY_BYTES: usize = 450;

/// The provider of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provider {
    /// JSON, with a token in a header.
    Niu,
    /// Forms, signed with MD5.
    Segway,
    /// JSON, with a bearer token.
    Invers,
}

/// One report of a vehicle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    /// The vehicle's number, below 10 million.
    pub(crate) vehicle: u32,
    /// When it was observed, epoch ms.
    pub(crate) at_ms: i64,
}

impl Provider {
    pub(crate) const ALL: [Self; 3] = [Self::Niu, Self::Segway, Self::Invers];

    /// The name in routes, keys and rows.
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::Niu => "niu",
            Self::Segway => "segway",
            Self::Invers => "invers",
        }
    }

    /// The provider's own id of a vehicle.
    pub(crate) fn vehicle_id(self, vehicle: u32) -> String {
        match self {
            Self::Niu => format!("BENCHN{vehicle:07}"),
            Self::Segway => format!("86000000{vehicle:07}"),
            Self::Invers => format!("BENCHI{vehicle:07}"),
        }
    }

    /// The path relative to the provider's route.
    pub(crate) fn topic(self) -> &'static str {
        match self {
            Self::Niu | Self::Invers => "",
            Self::Segway => "vehicle/status",
        }
    }

    /// The media type of a body.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Niu | Self::Invers => "application/json",
            Self::Segway => "application/x-www-form-urlencoded",
        }
    }

    /// The body of a status, of [`BODY_BYTES`].
    pub(crate) fn body(self, status: Status) -> String {
        match self {
            Self::Niu => niu(status),
            Self::Segway => segway(status),
            Self::Invers => invers(status),
        }
    }

    /// A complete HTTP/1.1 request.
    pub(crate) fn request(self, body: &str) -> Vec<u8> {
        let (path, credential) = match self {
            Self::Niu => ("/webhooks/niu", format!("token: {NIU_TOKEN}\r\n")),
            Self::Segway => ("/webhooks/segway/vehicle/status", String::new()),
            Self::Invers => ("/webhooks/invers", format!("authorization: Bearer {INVERS_TOKEN}\r\n")),
        };
        let (content_type, length) = (self.content_type(), body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: fleet-bench\r\n{credential}\
             content-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

/// A backlog as NIU sends it: several statuses in one array.
pub(crate) fn niu_array(statuses: impl Iterator<Item = Status>) -> String {
    let mut body = String::from("[");
    for status in statuses {
        if body.len() > 1 {
            body.push(',');
        }
        body.push_str(&niu(status));
    }
    body.push(']');
    body
}

/// Millionths of a degree around a city. Every report of a vehicle has a different position.
fn micro_degrees(Status { vehicle, at_ms }: Status) -> i64 {
    (i64::from(vehicle) * 37 + at_ms / 1000) % 90_000
}

fn filled(mut text: String, end: &str) -> String {
    let missing = BODY_BYTES.saturating_sub(text.len() + end.len());
    text.extend(std::iter::repeat_n('x', missing));
    text.push_str(end);
    text
}

fn niu(status: Status) -> String {
    let place = micro_degrees(status);
    niu_placed(status, &format!("52.5{place:05}"), &format!("13.4{place:05}"))
}

/// NIU's status of a vehicle at this latitude and longitude.
pub(crate) fn niu_at(status: Status, lat: f64, lon: f64) -> String {
    niu_placed(status, &format!("{lat:.6}"), &format!("{lon:.6}"))
}

fn niu_placed(status: Status, lat: &str, lon: &str) -> String {
    let id = Provider::Niu.vehicle_id(status.vehicle);
    let time = status.at_ms;
    let text = format!(
        "{{\"sn\":\"{id}\",\"type\":\"status\",\"infoTimestamp\":{time},\"gpsTimestamp\":{time},\
         \"postion\":{{\"lat\":{lat},\"lng\":{lon}}},\"isAccOn\":1,\"isFortificationOn\":0,\
         \"nowSpeed\":23,\"ss_online_sta\":\"1\",\"isCharging\":0,\"estimatedMileage\":41,\"totalMileage\":1234.5,\
         \"batteries\":{{\"compartmentA\":{{\"isConnected\":true,\"batteryCharging\":68,\"gradeBattery\":\"99.2\"}}}},\
         \"remark\":\""
    );
    filled(text, "\"}")
}

fn segway(status: Status) -> String {
    let id = Provider::Segway.vehicle_id(status.vehicle);
    let (time, place) = (status.at_ms, micro_degrees(status));
    // Sorted by name and without characters to escape, so the text to sign is the form itself.
    let text = format!(
        "altitude=34.2&charging=false&gpsUtcTime={time}&hdop=0.9&iotCode={id}&latitude=52.5{place:05}&locked=true\
         &longitude=13.4{place:05}&networkSignal=22&odometer=123450&online=true&platformCode=E00001\
         &powerPercent=78&remainingRange=2300&speed=0&speedMode=3&statusUtcTime={time}&totalRidingSecs=98765&z="
    );
    let signature_bytes = "&signature=".len() + 32;
    let missing = BODY_BYTES.saturating_sub(text.len() + signature_bytes);
    let text = text + &"x".repeat(missing);
    let digest = Md5::new().chain_update(&text).chain_update("&client_secret=").chain_update(SEGWAY_SECRET);
    let signature: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{text}&signature={signature}")
}

fn invers(status: Status) -> String {
    let id = Provider::Invers.vehicle_id(status.vehicle);
    let (time, place) = (status.at_ms, micro_degrees(status));
    let at = format!("{:.3}", Timestamp::from_millisecond(time).unwrap_or_default());
    let text = format!(
        "{{\"metadata\":{{\"id\":\"{id}-{time}\",\"type\":\"VehicleStateRecorded\",\"schema_major_version\":2,\
         \"occurred_at\":\"{at}\"}},\"data\":{{\"vehicle_id\":\"{id}\",\"vehicle_state\":{{\
         \"position\":{{\"timestamp\":\"{at}\",\"value\":{{\"lat\":50.8{place:05},\"lon\":8.0{place:05}}}}},\
         \"central_lock\":{{\"timestamp\":\"{at}\",\"value\":\"LOCKED\"}}}},\"note\":\""
    );
    filled(text, "\"}}")
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};
    use fleet_providers::{AuthScheme, Limits, Message, Secrets, Verdict};

    use super::*;

    const AT_MS: i64 = 1_718_000_000_123;

    #[test]
    fn every_status_is_one_event_of_the_agreed_size() {
        for provider in Provider::ALL {
            let body = provider.body(Status { vehicle: 4_711, at_ms: AT_MS });
            assert_eq!(body.len(), BODY_BYTES, "{body}");
            let message = Message {
                topic: provider.topic(),
                content_type: Some(provider.content_type()),
                received_at: Timestamp::from_millisecond(AT_MS).unwrap(),
                body: body.as_bytes(),
            };
            let parser = fleet_providers::provider(provider.slug()).unwrap();
            let events = parser.parse(&message, &Limits::default()).unwrap();
            let [Ok(event)] = events.as_slice() else { panic!("{events:?}") };
            assert_eq!(event.provider_vehicle_id, provider.vehicle_id(4_711));
            assert_eq!(event.observed_at.as_millisecond(), AT_MS);
            let attributes = &event.attributes;
            assert!(attributes.position.is_some() && attributes.locked.is_some(), "{attributes:?}");
        }
    }

    #[test]
    fn segways_signature_is_genuine() {
        let secrets = Secrets(vec![SEGWAY_SECRET.to_owned().into()]);
        let body = Provider::Segway.body(Status { vehicle: 1, at_ms: AT_MS });
        let verify = |body: &str| {
            let content_type = Some(Provider::Segway.content_type());
            AuthScheme::SegwayMd5.verify_body(&HeaderMap::new(), content_type, body.as_bytes(), &secrets)
        };
        assert_eq!(verify(&body), Verdict::Genuine);
        assert_eq!(verify(&body.replace("speed=0", "speed=9")), Verdict::Refused);
    }

    #[test]
    fn the_credentials_fit_the_default_schemes() {
        let mut headers = HeaderMap::new();
        headers.insert("token", HeaderValue::from_static(NIU_TOKEN));
        let secrets = Secrets(vec![NIU_TOKEN.to_owned().into()]);
        let scheme = (fleet_providers::provider("niu").unwrap().default_auth)();
        assert_eq!(scheme.verify_head(&headers, None, &secrets), Verdict::Genuine);
    }

    #[test]
    fn an_array_holds_every_status() {
        let statuses = (0..100).map(|vehicle| Status { vehicle, at_ms: AT_MS });
        let body = niu_array(statuses);
        let values: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
        assert_eq!(values.len(), 100);
    }
}
