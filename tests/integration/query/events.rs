//! A reader of a stream, which keeps the vehicles that the stream tells of.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;
use uuid::Uuid;

use super::fleet::id;
use crate::support::DEADLINE;

/// A stream.
pub(crate) struct Stream {
    response: reqwest::Response,
    text: Vec<u8>,
    waiting: VecDeque<Event>,
    /// The vehicles that meet the conditions, as far as the stream has told.
    pub(crate) vehicles: BTreeMap<Uuid, Value>,
    pub(crate) last_event_id: String,
    pub(crate) retry_ms: Option<u64>,
}

/// An event.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Stream {
    /// Opens a stream, which must succeed.
    pub(crate) async fn open(request: reqwest::RequestBuilder) -> Self {
        Self::read(request.send().await.unwrap())
    }

    /// Reads a response that is a stream.
    pub(crate) fn read(response: reqwest::Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let (text, waiting) = (Vec::new(), VecDeque::new());
        Self {
            response,
            text,
            waiting,
            vehicles: BTreeMap::new(),
            last_event_id: String::new(),
            retry_ms: None,
        }
    }

    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                self.keep(&event);
                return Some(event);
            }
            let chunk =
                tokio::time::timeout(DEADLINE, self.response.chunk()).await.expect("the stream is silent");
            // A stream of a killed process ends with an error.
            self.text.extend_from_slice(&chunk.ok().flatten()?);
            while let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                self.take(std::str::from_utf8(&block).unwrap());
            }
        }
    }

    fn take(&mut self, block: &str) {
        let (mut name, mut data) = (None, None);
        for line in block.lines().filter(|line| !line.is_empty()) {
            let (field, value) = line.split_once(": ").unwrap_or((line, ""));
            match field {
                "event" => name = Some(value.to_owned()),
                "data" => data = Some(serde_json::from_str(value).unwrap()),
                "id" => value.clone_into(&mut self.last_event_id),
                "retry" => self.retry_ms = Some(value.parse().unwrap()),
                other => panic!("{other}: {block}"),
            }
        }
        if let (Some(name), Some(data)) = (name, data) {
            self.waiting.push_back(Event { name, data });
        }
    }

    fn keep(&mut self, event: &Event) {
        match event.name.as_str() {
            "snapshot" => self.vehicles.clear(),
            "vehicle" => drop(self.vehicles.insert(id(&event.data), event.data.clone())),
            "gone" => drop(self.vehicles.remove(&id(&event.data))),
            "heartbeat" => {
                assert!(event.data["as_of"].is_string() && event.data["age_s"].is_number(), "{event:?}");
            }
            other => panic!("{other}"),
        }
    }

    /// Reads until the next event of this name, which it returns.
    pub(crate) async fn until(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before {name}"));
            if event.name == name {
                return event;
            }
        }
    }

    /// Reads until the vehicles are these, for as long as a test waits.
    pub(crate) async fn until_vehicles(&mut self, is_wanted: impl Fn(&BTreeMap<Uuid, Value>) -> bool) {
        let started = std::time::Instant::now();
        while !is_wanted(&self.vehicles) {
            assert!(started.elapsed() < DEADLINE, "waited in vain: {:?}", self.vehicles.keys());
            self.next().await.expect("the stream ended");
        }
    }
}
