//! What a provider usually sends: the bodies of the fixtures with one event, for each vehicle and time.

use jiff::Timestamp;
use serde_json::Value;

use crate::failure::Failure;
use crate::provider::{Provider, Status};

const NIU: &str = include_str!("../../fixtures/niu/n1s_single_battery.json");
const SEGWAY: &str = include_str!("../../fixtures/segway/status_v1_with_location.form");
const INVERS: &str = include_str!("../../fixtures/invers/current_envelope.json");

/// A fixture without insignificant white space.
#[derive(Debug)]
pub(crate) struct Usual {
    provider: Provider,
    template: String,
}

impl Usual {
    pub(crate) fn of(provider: Provider) -> Result<Self, Failure> {
        let compact = |text| Ok::<_, Failure>(serde_json::from_str::<Value>(text)?.to_string());
        let template = match provider {
            Provider::Niu => compact(NIU)?,
            Provider::Segway => SEGWAY.to_owned(),
            Provider::Invers => compact(INVERS)?,
        };
        Ok(Self { provider, template })
    }

    /// The body of one report. Segway's signature is that of the fixture, because only the API verifies it.
    pub(crate) fn body(&self, Status { vehicle, at_ms }: Status) -> String {
        let before = |ms: i64| (at_ms - ms).to_string();
        let replacements = match self.provider {
            Provider::Niu => vec![
                ("NBTESTN1S0000001", format!("NBTESTN1S{vehicle:07}")),
                ("1718000000123", before(0)),
                ("1717999950000", before(50_123)),
            ],
            Provider::Segway => vec![
                ("860000000000017", format!("86000000{vehicle:07}")),
                ("SGWTEST0001", format!("SGW{vehicle:08}")),
                ("1718000000000", before(0)),
                ("1717999995000", before(5_000)),
            ],
            Provider::Invers => vec![
                ("AB1C2", format!("{vehicle:05}")),
                ("01J0TESTULID0000000000000A", format!("01J0{vehicle:08}{at_ms:014}")),
                ("2024-06-10T06:13:20Z", rfc_3339(at_ms)),
                ("2024-06-10T06:13:18", rfc_3339(at_ms - 2_000).replace('Z', "")),
                ("2024-06-10T06:10:00Z", rfc_3339(at_ms - 200_000)),
            ],
        };
        replacements.iter().fold(self.template.clone(), |body, (old, new)| body.replace(old, new))
    }
}

fn rfc_3339(at_ms: i64) -> String {
    format!("{:.0}", Timestamp::from_millisecond(at_ms).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fleet_providers::{Limits, Message};

    use super::*;

    const AT_MS: i64 = 1_718_000_000_000;

    #[test]
    fn every_body_is_one_event_of_its_vehicle_and_time() {
        for provider in Provider::ALL {
            let usual = Usual::of(provider).unwrap();
            let seen: BTreeSet<_> = [(1, AT_MS), (2, AT_MS), (1, AT_MS + 5_000)]
                .map(|(vehicle, at_ms)| {
                    let body = usual.body(Status { vehicle, at_ms });
                    let message = Message {
                        topic: provider.topic(),
                        content_type: Some(provider.content_type()),
                        received_at: Timestamp::from_millisecond(AT_MS + 10_000).unwrap(),
                        body: body.as_bytes(),
                    };
                    let parser = fleet_providers::provider(provider.slug()).unwrap();
                    let events = parser.parse(&message, &Limits::default()).unwrap();
                    let [Ok(event)] = events.as_slice() else { panic!("{events:?}") };
                    (event.provider_vehicle_id.to_string(), event.observed_at.as_millisecond() / 1_000)
                })
                .into();
            assert_eq!(seen.len(), 3, "{seen:?}");
        }
    }
}
