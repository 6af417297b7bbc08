//! Reads server-sent events as the standard has it (pure).

/// An event.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: String,
}

/// What has been read so far.
#[derive(Default)]
pub(super) struct Events {
    /// The id of the last complete event, to come back with.
    pub(super) last_event_id: String,
    /// The pause before coming back, ms.
    pub(super) retry_ms: Option<u64>,
    id: Option<String>,
    event: Event,
}

impl Events {
    /// Forgets an incomplete event, because another stream begins.
    pub(super) fn begin_again(&mut self) {
        (self.id, self.event) = (None, Event::default());
    }

    /// Reads a line, without its end. Returns the event that the line completes.
    pub(super) fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            if let Some(id) = self.id.take() {
                self.last_event_id = id;
            }
            let event = std::mem::take(&mut self.event);
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.name),
            "data" => self.event.data.push_str(value),
            "retry" => self.retry_ms = value.parse().ok(),
            _unknown => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_counts_when_its_event_is_complete() {
        let mut events = Events { last_event_id: "1".to_owned(), ..Events::default() };
        let mut read = |line: &str| (events.line(line), events.last_event_id.clone(), events.retry_ms);
        assert_eq!(read("id: 2"), (None, "1".to_owned(), None));
        read("event: vehicle");
        read("data: {}");
        let event = Event { name: "vehicle".to_owned(), data: "{}".to_owned() };
        assert_eq!(read(""), (Some(event), "2".to_owned(), None));
        assert_eq!(read("retry: 50"), (None, "2".to_owned(), Some(50)));
        read("id");
        assert_eq!(read(""), (None, String::new(), Some(50)), "an empty id without an event");
        read("id: 3");
        events.begin_again();
        events.line("");
        assert_eq!(events.last_event_id, "", "the stream ended before its event did");
    }
}
