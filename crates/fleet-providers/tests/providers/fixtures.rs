//! Every fixture is parsed and compared with an accepted snapshot.

use std::fmt::Write;

use fleet_providers::{Attributes, Limits, Timed, VehicleEvent};

use crate::support;

#[test]
fn fixtures_parse_as_accepted() {
    let mut seen = 0;
    insta::glob!("../../../../tests/fixtures", "*/*.{form,json}", |path| {
        seen += 1;
        let fixture = support::Fixture::read(path);
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.remove_snapshot_suffix();
        let name = format!("{}__{}", fixture.provider.slug, fixture.situation);
        settings.bind(|| insta::assert_snapshot!(name, described(&fixture)));
    });
    assert!(seen >= 50, "the fixtures were not found");
}

#[test]
fn every_provider_has_fixtures() {
    let fixtures = support::fixtures();
    for provider in fleet_providers::PROVIDERS {
        let count = fixtures.iter().filter(|fixture| fixture.provider.slug == provider.slug).count();
        assert!(count >= 10, "{} has {count} fixtures", provider.slug);
    }
}

fn described(fixture: &support::Fixture) -> String {
    let mut text = format!("topic: {:?}\n", fixture.topic);
    match fixture.provider.parse(&fixture.message(), &Limits::default()) {
        Ok(events) => {
            for event in events {
                match event {
                    Ok(event) => describe(&mut text, &event),
                    Err(error) => writeln!(text, "\nevent refused: {} ({error})", error.reason()).unwrap(),
                }
            }
        }
        Err(error) => writeln!(text, "\nmessage refused: {} ({error})", error.reason()).unwrap(),
    }
    text
}

fn describe(text: &mut String, event: &VehicleEvent<'_>) {
    let Attributes {
        position,
        speed_kmh,
        battery_percent,
        range_m,
        odometer_m,
        powered_on,
        locked,
        charging,
        online,
    } = event.attributes;
    writeln!(text, "\n{} of {}", event.kind, event.provider_vehicle_id).unwrap();
    writeln!(text, "  vehicle_id      {}", event.vehicle_id).unwrap();
    writeln!(text, "  event_id        {}", event.event_id).unwrap();
    writeln!(text, "  provider's id   {}", event.provider_event_id.as_deref().unwrap_or("-")).unwrap();
    writeln!(text, "  observed_at     {} (skewed: {})", event.observed_at, event.clock_skewed).unwrap();
    if let Some(Timed { value, at, .. }) = position {
        let (lat, lon) = (value.lat, value.lon);
        let rest = (value.altitude_m, value.heading_deg, value.accuracy_m);
        writeln!(text, "  position        {lat}, {lon}, {rest:?} at {at}").unwrap();
    }
    line(text, "speed_kmh", speed_kmh);
    line(text, "battery_percent", battery_percent);
    line(text, "range_m", range_m);
    line(text, "odometer_m", odometer_m);
    line(text, "powered_on", powered_on);
    line(text, "locked", locked);
    line(text, "charging", charging);
    line(text, "online", online);
    for dropped in &event.dropped {
        let (attribute, reason) = (dropped.attribute.name(), dropped.reason.name());
        writeln!(text, "  not used        {attribute}: {reason}: {}", dropped.written).unwrap();
    }
    writeln!(text, "  raw             {}", event.raw.split_whitespace().collect::<Vec<_>>().join(" "))
        .unwrap();
}

fn line<T: std::fmt::Display>(text: &mut String, name: &str, attribute: Option<Timed<T>>) {
    if let Some(Timed { value, at, .. }) = attribute {
        writeln!(text, "  {name:<15} {value} at {at}").unwrap();
    }
}
