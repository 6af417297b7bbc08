//! An event can be parsed again from telemetry.

use fleet_providers::{DropReason, Limits, Message, PROVIDERS, Provider, StoredEvent, VehicleEvent};
use proptest::prelude::*;
use uuid::Uuid;

use crate::support;

/// An event as telemetry stores it, received at the time of the fixtures.
fn stored<'a>(event: &'a VehicleEvent<'_>, topic: &'a str) -> StoredEvent<'a> {
    StoredEvent { topic, received_at: event.received_at, raw: &event.raw, event_id: event.event_id }
}

/// Parses `message`, then each event again. Returns the number of events.
fn assert_round_trip(provider: &Provider, message: &Message<'_>) -> usize {
    let limits = Limits::default();
    let events = provider.parse(message, &limits).unwrap_or_default();
    for event in events.iter().flatten() {
        let again = provider.reparse(&stored(event, message.topic), &limits);
        // The stored text is already repaired.
        let mut event = event.clone();
        event.dropped.retain(|dropped| dropped.reason != DropReason::InvalidCharacter);
        assert_eq!(again.as_ref(), Ok(&event), "{}: {:?}", provider.slug, event.raw);
    }
    events.iter().flatten().count()
}

#[test]
fn every_fixtures_events_parse_again_to_the_same() {
    for provider in PROVIDERS {
        let fixtures = support::fixtures();
        let own = fixtures.iter().filter(|fixture| fixture.provider.slug == provider.slug);
        let events: usize = own.map(|fixture| assert_round_trip(provider, &fixture.message())).sum();
        assert!(events >= 10, "{} has only {events} events", provider.slug);
    }
}

#[test]
fn a_form_and_json_of_strings_keep_their_different_ids() {
    let form = "iotCode=860000000000017&statusUtcTime=1718000000000&powerPercent=78&speed=3%20";
    let json =
        r#"{"iotCode":"860000000000017","statusUtcTime":"1718000000000","powerPercent":"78","speed":"3 "}"#;
    let as_form = support::only(support::form(form));
    let as_json = support::only(support::json("segway", json));
    assert_eq!(as_form.raw, as_json.raw, "telemetry keeps the same of both");
    assert_ne!(as_form.event_id, as_json.event_id);
    let segway = fleet_providers::provider("segway").unwrap();
    for event in [as_form, as_json] {
        assert_eq!(segway.reparse(&stored(&event, ""), &Limits::default()).as_ref(), Ok(&event));
    }
}

#[test]
fn an_event_is_not_taken_apart_again() {
    // In an array it is one event, although alone it would be a wrapper around events.
    let body =
        r#"[{"qnr":"0000000000000001","data":[{"qnr":"0000000000000002"}]},{"qnr":"0000000000000003"}]"#;
    let message = Message {
        topic: "",
        content_type: Some("application/json"),
        received_at: support::received_at(),
        body: body.as_bytes(),
    };
    let invers = fleet_providers::provider("invers").unwrap();
    assert_eq!(assert_round_trip(invers, &message), 2);
}

#[test]
fn an_id_that_no_reading_meets_does_not_hide_the_event() {
    let event =
        support::only(support::json("niu", r#"{"sn":"N1","nowSpeed":7,"infoTimestamp":1718000000000}"#));
    let foreign = StoredEvent { event_id: Uuid::nil(), ..stored(&event, "") };
    let niu = fleet_providers::provider("niu").unwrap();
    assert_eq!(niu.reparse(&foreign, &Limits::default()).as_ref(), Ok(&event));
}

#[test]
fn what_cannot_be_parsed_any_more_says_why() {
    let niu = fleet_providers::provider("niu").unwrap();
    let reason = |raw, limits: &Limits| {
        let stored =
            StoredEvent { topic: "", received_at: support::received_at(), raw, event_id: Uuid::nil() };
        niu.reparse(&stored, limits).map(|event| event.event_id).expect_err("it must be refused").reason()
    };
    let limits = Limits::default();
    assert_eq!(reason(r#"{"no":"vehicle"}"#, &limits), "missing_vehicle_id");
    assert_eq!(reason("[]", &limits), "unparsable");
    assert_eq!(reason(r#"{"sn":"N1","more":{"deep":1}}"#, &Limits { max_depth: 1, ..limits }), "too_deep");
    assert_eq!(reason(r#"{"sn":"N1","infoTimestamp":1600000000000}"#, &limits), "too_old");
}

proptest! {
    #[test]
    fn any_form_parses_again_to_the_same(pairs in prop::collection::vec((name(), value()), 0..8)) {
        let mut form = form_urlencoded::Serializer::new("iotCode=860000000000017".to_owned());
        form.extend_pairs(pairs);
        let body = form.finish();
        let content_type = Some("application/x-www-form-urlencoded");
        let message =
            Message { topic: "vehicle/status", content_type, received_at: support::received_at(), body: body.as_bytes() };
        prop_assume!(assert_round_trip(fleet_providers::provider("segway").unwrap(), &message) == 1);
    }
}

/// The name of a known parameter, or of an unknown one.
fn name() -> impl Strategy<Value = String> {
    let known = ["iotCode", "statusUtcTime", "gpsUtcTime", "latitude", "speed", "online"].map(str::to_owned);
    prop_oneof![prop::sample::select(known.to_vec()), "\\PC{0,8}"]
}

/// A time, or any text.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![Just("1718000000000".to_owned()), "\\PC{0,12}"]
}
