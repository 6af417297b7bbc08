//! The format of a list item: one header line, a newline, and the unchanged bytes of the body.
//!
//! ```text
//! 1 0197533e-84bb-7d71-8d6c-3c1f0a2b4c5d 1718000000123 vehicle/status application/json -
//! {"sn":"NBTESTN1S0000001",…
//! ```
//!
//! The words are version, message id (UUIDv7), `received_at` (ms since the epoch), topic, content type and traceparent. `-`
//! stands for an absent word. An operator can read it with `redis-cli LINDEX`.

use jiff::Timestamp;
use uuid::Uuid;

const VERSION: &str = "1";
const ABSENT: &str = "-";

/// The content type of a body that is only the beginning of a message above the size limit. Such a message becomes a dead letter.
pub const TRUNCATED: &str = "application/vnd.fleet.truncated";

/// One accepted message: a webhook, or a message of an AMQP queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The UUIDv7 that the API gave the request, which the provider receives as `x-request-id`, or that the bridge gave the message.
    pub message_id: Uuid,
    /// When it arrived, to the millisecond.
    pub received_at: Timestamp,
    /// The path below the provider's route, or the message's AMQP type; may be empty.
    pub topic: &'a str,
    /// Media type of the body.
    pub content_type: Option<&'a str>,
    /// W3C trace context of the request.
    pub traceparent: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// Why bytes are not an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// A version that this one does not know wrote it.
    #[error("the envelope has a version that this consumer does not know; update the consumer and replay it")]
    UnknownVersion,
    /// Another program wrote it.
    #[error("the header line is not `version id received_at topic content-type traceparent`")]
    Malformed,
}

impl<'a> Envelope<'a> {
    /// The envelope as one list item. Removes from each header word the characters that could end it.
    pub fn encode(&self) -> Vec<u8> {
        let mut item = Vec::with_capacity(160 + self.body.len());
        self.encode_into(&mut item);
        item
    }

    /// As [`Envelope::encode`], appended to `item`.
    pub fn encode_into(&self, item: &mut Vec<u8>) {
        item.extend_from_slice(VERSION.as_bytes());
        item.push(b' ');
        item.extend_from_slice(
            self.message_id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes(),
        );
        item.push(b' ');
        item.extend_from_slice(self.received_at.as_millisecond().to_string().as_bytes());
        for word in [Some(self.topic), self.content_type, self.traceparent] {
            item.push(b' ');
            push_word(item, word);
        }
        item.push(b'\n');
        item.extend_from_slice(self.body);
    }

    /// Reads one list item.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] says whether another version or another program wrote it.
    pub fn decode(item: &'a [u8]) -> Result<Self, EnvelopeError> {
        let newline = item.iter().position(|&byte| byte == b'\n').ok_or(EnvelopeError::Malformed)?;
        let (header, body) = (&item[..newline], &item[newline + 1..]);
        let header = std::str::from_utf8(header).map_err(|_| EnvelopeError::Malformed)?;
        let (version, words) = header.split_once(' ').ok_or(EnvelopeError::Malformed)?;
        if version != VERSION {
            let numeric = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
            return Err(if numeric { EnvelopeError::UnknownVersion } else { EnvelopeError::Malformed });
        }
        Self::decode_words(words, body).ok_or(EnvelopeError::Malformed)
    }

    fn decode_words(words: &'a str, body: &'a [u8]) -> Option<Self> {
        let mut words = words.split(' ');
        let message_id = words.next()?.parse().ok()?;
        // PostgreSQL's calendar begins later than this one. No message was received before the epoch.
        let received_ms = words.next()?.parse().ok().filter(|ms| *ms >= 0)?;
        let received_at = Timestamp::from_millisecond(received_ms).ok()?;
        let topic = present(words.next()?).unwrap_or_default();
        let content_type = present(words.next()?);
        let traceparent = present(words.next()?);
        let complete = words.next().is_none();
        complete.then_some(Self { message_id, received_at, topic, content_type, traceparent, body })
    }
}

fn present(word: &str) -> Option<&str> {
    (word != ABSENT).then_some(word)
}

fn push_word(item: &mut Vec<u8>, word: Option<&str>) {
    let start = item.len();
    item.extend(word.unwrap_or_default().bytes().filter(u8::is_ascii_graphic));
    if item.len() == start {
        item.extend_from_slice(ABSENT.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(body: &[u8]) -> Envelope<'_> {
        Envelope {
            message_id: Uuid::from_u128(0x0197_533e_84bb_7d71_8d6c_3c1f_0a2b_4c5d),
            received_at: Timestamp::from_millisecond(1_718_000_000_123).unwrap(),
            topic: "vehicle/status",
            content_type: Some("application/x-www-form-urlencoded"),
            traceparent: None,
            body,
        }
    }

    #[test]
    fn is_readable_and_small() {
        let item = sample(b"iotCode=1\n2").encode();
        let expected = "1 0197533e-84bb-7d71-8d6c-3c1f0a2b4c5d 1718000000123 vehicle/status \
                        application/x-www-form-urlencoded -\niotCode=1\n2";
        assert_eq!(String::from_utf8(item.clone()).unwrap(), expected);
        assert!(item.len() - 11 <= 110, "the overhead is {} bytes", item.len() - 11);
    }

    #[test]
    fn words_cannot_break_the_header() {
        let mut envelope = sample(b"body");
        envelope.topic = "a b\nc";
        envelope.traceparent = Some(" ");
        let item = envelope.encode();
        let decoded = Envelope::decode(&item).unwrap();
        assert_eq!((decoded.topic, decoded.traceparent, decoded.body), ("abc", None, &b"body"[..]));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert_eq!(Envelope::decode(b"2 whatever\nbody"), Err(EnvelopeError::UnknownVersion));
        let malformed: [&[u8]; 6] = [b"", b"1", b"1 \n", b"x y\n", b"\xff\n", b"1 0197533e 17 - - -\n"];
        for item in malformed {
            assert_eq!(Envelope::decode(item), Err(EnvelopeError::Malformed), "{item:?}");
        }
        let ancient = b"1 0197533e-84bb-7d71-8d6c-3c1f0a2b4c5d -377705023201000 - - -\n";
        assert_eq!(Envelope::decode(ancient), Err(EnvelopeError::Malformed));
        let mut longer = sample(b"").encode();
        longer.truncate(longer.len() - 1);
        longer.extend_from_slice(b" more\n");
        assert_eq!(Envelope::decode(&longer), Err(EnvelopeError::Malformed));
    }

    proptest! {
        #[test]
        fn round_trips(
            id: u128,
            millis in 0_i64..4_000_000_000_000,
            topic in "[a-z/._~-]{1,40}",
            content_type in proptest::option::of("[a-z]{1,9}/[a-z.+]{1,20}"),
            traceparent in proptest::option::of("00-[0-9a-f]{32}-[0-9a-f]{16}-01"),
            body: Vec<u8>,
        ) {
            prop_assume!(topic != "-");
            let envelope = Envelope {
                message_id: Uuid::from_u128(id),
                received_at: Timestamp::from_millisecond(millis).unwrap(),
                topic: &topic,
                content_type: content_type.as_deref(),
                traceparent: traceparent.as_deref(),
                body: &body,
            };
            let item = envelope.encode();
            prop_assert_eq!(Envelope::decode(&item), Ok(envelope));
        }

        #[test]
        fn altered_items_are_read_or_refused(
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..8, any::<Vec<u8>>()), 1..4),
        ) {
            let mut item = sample(b"the body\n").encode();
            for (place, removed, inserted) in edits {
                let start = place.index(item.len() + 1);
                let end = (start + removed).min(item.len());
                item.splice(start..end, inserted);
            }
            if let Ok(envelope) = Envelope::decode(&item) {
                prop_assert!(envelope.received_at >= Timestamp::UNIX_EPOCH);
                prop_assert!(item.ends_with(envelope.body), "the body is what follows the first newline");
                let again = envelope.encode();
                let again = Envelope::decode(&again).unwrap();
                let key = |envelope: &Envelope<'_>| (envelope.message_id, envelope.received_at);
                prop_assert_eq!((key(&again), again.body), (key(&envelope), envelope.body));
            }
        }

        #[test]
        fn decoding_never_panics(item: Vec<u8>) {
            if let Ok(envelope) = Envelope::decode(&item) {
                let again = envelope.encode();
                prop_assert_eq!(Envelope::decode(&again), Ok(envelope));
            }
        }
    }
}
