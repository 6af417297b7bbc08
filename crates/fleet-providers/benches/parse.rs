//! Parses one message of each provider and counts allocations: `cargo bench -p fleet-providers --bench parse`.

#![allow(clippy::unwrap_used, reason = "a benchmark")]

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher, black_box};
use fleet_providers::{AuthScheme, Limits, Message, Secrets, Verdict, provider};
use http::HeaderMap;
use jiff::Timestamp;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const BODIES: [(&str, &str, &[u8]); 3] = [
    ("niu", "application/json", include_bytes!("../../../tests/fixtures/niu/n1s_single_battery.json")),
    (
        "segway",
        "application/x-www-form-urlencoded",
        include_bytes!("../../../tests/fixtures/segway/status_v2.form"),
    ),
    ("invers", "application/json", include_bytes!("../../../tests/fixtures/invers/current_envelope.json")),
];

fn body(slug: &str) -> (&'static str, &'static [u8]) {
    let (_, content_type, body) = BODIES.into_iter().find(|(name, _, _)| *name == slug).unwrap();
    (content_type, body)
}

#[divan::bench(args = ["niu", "segway", "invers"])]
fn parse(bencher: Bencher<'_, '_>, slug: &str) {
    let (content_type, body) = body(slug);
    let message = Message {
        topic: if slug == "segway" { "vehicle/status" } else { "" },
        content_type: Some(content_type),
        received_at: Timestamp::from_second(1_718_000_000).unwrap(),
        body,
    };
    let limits = Limits { max_age: jiff::SignedDuration::from_hours(24 * 36_500), ..Limits::default() };
    let (provider, limits) = (provider(slug).unwrap(), &limits);
    let events = provider.parse(&message, limits).unwrap();
    assert!(events.iter().all(Result::is_ok), "{events:?}");
    bencher
        .counter(BytesCount::new(body.len()))
        .bench_local(|| black_box(provider.parse(black_box(&message), limits).unwrap()));
}

#[divan::bench]
fn verify_segways_signature(bencher: Bencher<'_, '_>) {
    let (content_type, body) = body("segway");
    let secrets = Secrets(vec!["test-secret-0001".to_owned().into()]);
    let headers = HeaderMap::new();
    let verify =
        || AuthScheme::SegwayMd5.verify_body(&headers, Some(content_type), black_box(body), &secrets);
    assert_eq!(verify(), Verdict::Genuine);
    bencher.bench_local(verify);
}

/// The work that an unauthenticated client can cause: forms of the largest size that the API reads by default, with a wrong
/// signature.
#[divan::bench(args = ["one parameter", "128 parameters", "escapes", "too many parameters"])]
fn refuse_a_forged_form(bencher: Bencher<'_, '_>, shape: &str) {
    const LARGEST: usize = 16 * 1024;
    let signature = format!("signature={}", "0".repeat(32));
    let room = LARGEST - signature.len() - 1;
    let form = match shape {
        "one parameter" => format!("a={}", "x".repeat(room - 2)),
        "128 parameters" => {
            let names = (0..127).map(|number| format!("p{number:03}={}", "x".repeat(room / 127 - 6)));
            names.collect::<Vec<_>>().join("&")
        }
        "escapes" => format!("a={}", "%41".repeat((room - 2) / 3)),
        _ => "a=1&".repeat(room / 4 - 1) + "a=1",
    };
    let body = format!("{form}&{signature}");
    assert!(body.len() <= LARGEST && body.len() > LARGEST - 400, "{}", body.len());
    let secrets = Secrets(vec!["test-secret-0001".to_owned().into()]);
    let (headers, content_type) = (HeaderMap::new(), Some("application/x-www-form-urlencoded"));
    let verify =
        || AuthScheme::SegwayMd5.verify_body(&headers, content_type, black_box(body.as_bytes()), &secrets);
    assert_eq!(verify(), Verdict::Refused);
    bencher.bench_local(verify);
}
