//! From a message of the broker to an envelope.

use fleet_queue::{Envelope, TRUNCATED};
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use uuid::Uuid;

/// How much of a body above the limit is kept, for the dead letter.
const HEAD_BYTES: usize = 4096;

/// The header that had the type of a message before INVERS set the property `type`.
const TYPE_HEADER: &str = "Message-Type";

/// A message as it will be pushed.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// The envelope with the body.
    pub(crate) item: Vec<u8>,
    /// Present if the body is above the limit, so that only its beginning is in the envelope: its size.
    pub(crate) oversize_bytes: Option<usize>,
}

/// Encodes a message. Nothing of the body is read.
pub(crate) fn encode(delivery: &Delivery, max_body_bytes: usize) -> Encoded {
    let Delivery { properties, data, .. } = delivery;
    let oversize_bytes = Some(data.len()).filter(|bytes| *bytes > max_body_bytes);
    let head = data.get(..HEAD_BYTES.min(max_body_bytes)).unwrap_or(data);
    let content_type = properties.content_type().as_ref().map(lapin::types::ShortString::as_str);
    let envelope = Envelope {
        message_id: Uuid::now_v7(),
        received_at: Timestamp::now(),
        topic: message_type(properties),
        content_type: if oversize_bytes.is_some() { Some(TRUNCATED) } else { content_type },
        traceparent: None,
        body: if oversize_bytes.is_some() { head } else { data },
    };
    Encoded { item: envelope.encode(), oversize_bytes }
}

fn message_type(properties: &BasicProperties) -> &str {
    if let Some(kind) = properties.kind() {
        return kind.as_str();
    }
    let headers = properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get(TYPE_HEADER)) {
        Some(AMQPValue::LongString(text)) => std::str::from_utf8(text.as_bytes()).unwrap_or_default(),
        Some(AMQPValue::ShortString(text)) => text.as_str(),
        Some(_) | None => "",
    }
}

/// How often the broker has delivered a message before, as far as it says so: quorum queues count, classic queues do not.
pub(crate) fn earlier_deliveries(properties: &BasicProperties) -> u64 {
    let headers = properties.headers().as_ref();
    let count = headers.and_then(|headers| headers.inner().get("x-delivery-count"));
    let integer = count.and_then(|value| match value {
        AMQPValue::LongLongInt(count) => Some(*count),
        AMQPValue::LongInt(count) => Some(i64::from(*count)),
        AMQPValue::LongUInt(count) => Some(i64::from(*count)),
        AMQPValue::ShortInt(count) => Some(i64::from(*count)),
        AMQPValue::ShortUInt(count) => Some(i64::from(*count)),
        AMQPValue::ShortShortInt(count) => Some(i64::from(*count)),
        AMQPValue::ShortShortUInt(count) => Some(i64::from(*count)),
        AMQPValue::Boolean(_)
        | AMQPValue::Float(_)
        | AMQPValue::Double(_)
        | AMQPValue::DecimalValue(_)
        | AMQPValue::ShortString(_)
        | AMQPValue::LongString(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::Timestamp(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => None,
    });
    integer.and_then(|count| u64::try_from(count).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldTable;

    use super::*;

    fn delivery(properties: BasicProperties, body: &[u8]) -> Delivery {
        let mut delivery = Delivery::mock(1, "".into(), "states".into(), false, body.to_vec());
        delivery.properties = properties;
        delivery
    }

    fn headers(name: &str, value: AMQPValue) -> BasicProperties {
        let mut table = FieldTable::default();
        table.insert(name.into(), value);
        BasicProperties::default().with_headers(table)
    }

    #[test]
    fn the_type_becomes_the_topic_and_the_body_stays_as_it_is() {
        let properties = BasicProperties::default()
            .with_type("VehicleStateRecorded".into())
            .with_content_type("application/json".into());
        let encoded = encode(&delivery(properties, b"not JSON\n"), 100);
        let envelope = Envelope::decode(&encoded.item).unwrap();
        assert_eq!(
            (envelope.topic, envelope.content_type),
            ("VehicleStateRecorded", Some("application/json"))
        );
        assert_eq!((envelope.body, encoded.oversize_bytes), (&b"not JSON\n"[..], None));
    }

    #[test]
    fn the_type_of_the_previous_generation_is_in_a_header() {
        let properties = headers("Message-Type", AMQPValue::LongString("vehicle-state".into()));
        let encoded = encode(&delivery(properties, b"{}"), 100);
        assert_eq!(Envelope::decode(&encoded.item).unwrap().topic, "vehicle-state");
        let encoded = encode(&delivery(BasicProperties::default(), b"{}"), 100);
        assert_eq!(Envelope::decode(&encoded.item).unwrap().topic, "");
    }

    #[test]
    fn of_a_large_body_only_the_beginning_is_pushed() {
        let body = vec![b'a'; 10_000];
        for (limit, kept) in [(9_999, HEAD_BYTES), (100, 100)] {
            let encoded = encode(&delivery(BasicProperties::default(), &body), limit);
            let envelope = Envelope::decode(&encoded.item).unwrap();
            assert_eq!((envelope.content_type, envelope.body.len()), (Some(TRUNCATED), kept));
            assert_eq!(encoded.oversize_bytes, Some(10_000));
        }
        assert_eq!(encode(&delivery(BasicProperties::default(), &body), 10_000).oversize_bytes, None);
    }

    #[test]
    fn only_a_quorum_queue_counts_deliveries() {
        assert_eq!(earlier_deliveries(&headers("x-delivery-count", AMQPValue::LongLongInt(7))), 7);
        assert_eq!(earlier_deliveries(&BasicProperties::default()), 0);
    }
}
