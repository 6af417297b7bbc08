//! Helpers of this crate's tests.

use std::path::{Path, PathBuf};

use fleet_providers::{Limits, Message, ParseError, Provider, Secrets, VehicleEvent};
use jiff::Timestamp;

/// Secret of the fixtures, and the second one, of the platform in America.
pub(crate) const SECRET: &str = "test-secret-0001";
pub(crate) const SECOND_SECRET: &str = "test-secret-0002";

/// The topics of Segway's fixtures by the beginning of their names; the first that fits counts.
const SEGWAY_TOPICS: [(&str, &str); 6] = [
    ("status_v1", ""),
    ("location", "vehicle/location"),
    ("alert", "vehicle/alert"),
    ("fault", "vehicle/fault"),
    ("firmware_upgrade_complete", "firmware/upgrade/complete"),
    ("", "vehicle/status"),
];

/// A body, and how it was sent.
pub(crate) struct Fixture {
    pub(crate) provider: &'static Provider,
    pub(crate) situation: String,
    pub(crate) topic: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Fixture {
    pub(crate) fn load(path: &Path) -> Self {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap().to_str().unwrap().to_owned();
        let slug = text(path.parent().unwrap().file_name());
        let situation = text(path.file_stem());
        let topic = SEGWAY_TOPICS.iter().find(|(prefix, _)| situation.starts_with(prefix)).unwrap().1;
        let content_type = match text(path.extension()).as_str() {
            "form" => "application/x-www-form-urlencoded",
            "json" => "application/json",
            other => panic!("{other} is not the name of a kind of fixture"),
        };
        Self {
            provider: fleet_providers::provider(&slug).expect("the folder is named after a provider"),
            situation,
            topic: if slug == "segway" { topic } else { "" },
            content_type,
            body: std::fs::read(path).unwrap(),
        }
    }

    pub(crate) fn named(slug: &str, file: &str) -> Self {
        Self::load(&folder().join(slug).join(file))
    }

    pub(crate) fn message(&self) -> Message<'_> {
        Message {
            topic: self.topic,
            content_type: Some(self.content_type),
            received_at: received_at(),
            body: &self.body,
        }
    }
}

/// Every fixture, in the order of their paths.
pub(crate) fn fixtures() -> Vec<Fixture> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let folders = entries(&folder()).into_iter().filter(|path| path.is_dir());
    folders.flat_map(|folder| entries(&folder)).map(|path| Fixture::load(&path)).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

/// Ten seconds after most fixtures were observed.
pub(crate) fn received_at() -> Timestamp {
    "2024-06-10T06:13:30Z".parse().unwrap()
}

/// A time of the fixtures' day.
pub(crate) fn at(time: &str) -> Timestamp {
    format!("2024-06-10T{time}Z").parse().unwrap()
}

pub(crate) type Parsed<'a> = Result<Vec<Result<VehicleEvent<'a>, ParseError>>, ParseError>;

/// Parses a body of JSON.
pub(crate) fn json<'a>(slug: &str, body: &'a str) -> Parsed<'a> {
    bytes(slug, "application/json", body.as_bytes())
}

/// Parses a form sent to Segway's single URL.
pub(crate) fn form(body: &str) -> Parsed<'_> {
    bytes("segway", "application/x-www-form-urlencoded", body.as_bytes())
}

pub(crate) fn bytes<'a>(slug: &str, content_type: &'a str, body: &'a [u8]) -> Parsed<'a> {
    let message = Message { topic: "", content_type: Some(content_type), received_at: received_at(), body };
    fleet_providers::provider(slug).unwrap().parse(&message, &Limits::default())
}

/// The only event of a message, which must be a good one.
pub(crate) fn only(parsed: Parsed<'_>) -> VehicleEvent<'_> {
    let mut events = parsed.expect("the message is good");
    assert_eq!(events.len(), 1);
    events.remove(0).expect("the event is good")
}

/// The reason why a whole message is refused.
pub(crate) fn refusal(parsed: Parsed<'_>) -> &'static str {
    parsed.expect_err("the message is refused").reason()
}

/// Secrets from texts.
pub(crate) fn secrets(texts: &[&str]) -> Secrets {
    Secrets(texts.iter().map(|text| (*text).into()).collect())
}
