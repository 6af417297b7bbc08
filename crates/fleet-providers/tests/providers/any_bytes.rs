//! The parser returns a result for any bytes, and the same result every time.

use fleet_providers::{Limits, Message, PROVIDERS, Verdict};
use http::{HeaderMap, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{SECRET, fixtures, received_at, secrets};

const CONTENT_TYPES: [Option<&str>; 3] =
    [None, Some("application/json"), Some("application/x-www-form-urlencoded")];

/// The rules that every result keeps, whatever the bytes are.
fn check(topic: &str, body: &[u8]) {
    for provider in PROVIDERS {
        for content_type in CONTENT_TYPES {
            let message = Message { topic, content_type, received_at: received_at(), body };
            let limits = Limits::default();
            let parsed = provider.parse(&message, &limits);
            assert_eq!(parsed, provider.parse(&message, &limits));
            for event in parsed.into_iter().flatten().flatten() {
                assert!(event.observed_at <= received_at() + limits.max_clock_skew);
                assert!(event.observed_at >= received_at() - limits.max_age);
                assert_eq!(event.observed_at.as_nanosecond() % 1000, 0);
                assert!(!event.provider_vehicle_id.is_empty() && !event.kind.is_empty());
                assert_eq!(
                    event.vehicle_id,
                    fleet_providers::vehicle_id(provider.slug, &event.provider_vehicle_id)
                );
                for dropped in &event.dropped {
                    assert!(dropped.attribute.reasons().contains(&dropped.reason), "{dropped:?}");
                }
                let raw: Result<&serde_json::value::RawValue, _> = serde_json::from_str(&event.raw);
                assert!(raw.is_ok_and(|raw| raw.get().starts_with('{')));
                if let Some(speed) = event.attributes.speed_kmh {
                    assert!((0.0..=400.0).contains(&speed.value));
                }
                if let Some(position) = event.attributes.position {
                    assert!(position.value.lat.abs() <= 90.0 && position.value.lon.abs() <= 180.0);
                }
            }
        }
    }
}

/// Asserts that arbitrary credentials never authenticate.
fn check_schemes(value: &[u8], query: &str, body: &[u8]) {
    let secrets = secrets(&[SECRET]);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.insert("authorization", value.clone());
        headers.insert("token", value);
    }
    for text in ["bearer", "basic", "header:token", "query:key", "hmac-sha256:token", "segway-md5"] {
        let scheme: fleet_providers::AuthScheme = text.parse().unwrap();
        assert_ne!(scheme.verify_head(&headers, Some(query), &secrets), Verdict::Genuine);
        for content_type in CONTENT_TYPES {
            assert_ne!(scheme.verify_body(&headers, content_type, body, &secrets), Verdict::Genuine);
        }
    }
}

/// Bytes that are difficult for parsers.
fn spice() -> impl Strategy<Value = Vec<u8>> {
    let tokens =
        ["\"", "\\", "\\u0000", "\\ud800", "{", "}", "[", "]", "1e999", "-", "null", "%", "&", "=", ","];
    prop_oneof![
        prop::sample::select(tokens.to_vec()).prop_map(|token| token.as_bytes().to_vec()),
        vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #[test]
    fn arbitrary_bytes(topic in ".{0,40}", body in vec(any::<u8>(), 0..300)) {
        check(&topic, &body);
        check_schemes(&body, &topic, &body);
    }

    #[test]
    fn arbitrary_tokens(tokens in vec(spice(), 0..60)) {
        check("", &tokens.concat());
    }

    #[test]
    fn mutated_fixtures(
        which in any::<Index>(),
        edits in vec((any::<Index>(), 0_usize..6, spice()), 1..5),
    ) {
        let fixtures = fixtures();
        let fixture = which.get(&fixtures);
        let mut body = fixture.body.clone();
        for (place, removed, inserted) in edits {
            let start = place.index(body.len() + 1);
            let end = (start + removed).min(body.len());
            body.splice(start..end, inserted);
        }
        check(fixture.topic, &body);
    }

    #[test]
    fn white_space_and_the_envelope_do_not_change_ids(
        blanks in "[ \t\r\n]{0,5}", speed in -500.0..500.0_f64, time in 1_717_000_000_000..1_718_000_000_000_i64,
    ) {
        let event = format!("{{\"sn\":\"A\",\"infoTimestamp\":{time},\"nowSpeed\":{speed}}}");
        let id = |body: &str| crate::support::only(crate::support::json("niu", body)).event_id;
        let bare = id(&event);
        prop_assert_eq!(bare, id(&format!("{blanks}{event}{blanks}")));
        prop_assert_eq!(bare, id(&format!("[{blanks}{event}{blanks}]")));
        prop_assert_eq!(bare, id(&format!("{{\"status\":0,\"data\":{blanks}{event}{blanks}}}")));
        prop_assert_eq!(bare, id(&format!("{{\"data\":[{event}]}}")));
    }
}
