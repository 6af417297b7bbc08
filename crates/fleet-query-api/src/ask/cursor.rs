//! The place at which a page ended, as the opaque value of `after`.

use jiff::Timestamp;
use uuid::Uuid;

use super::parameters::Parameters;
use crate::problem::Problem;

/// The last item of a page. The next page begins behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cursor {
    /// A vehicle, in the order of ids.
    Id(Uuid),
    /// A vehicle, in the order of distances, metres. If it moves, it may be in both pages or in neither.
    Distance(f64, Uuid),
    /// An event of a track.
    Event(Timestamp, Uuid),
}

/// A letter for the kind, the query's fingerprint, a number, an id, in hexadecimal digits.
const LENGTH: usize = 1 + 16 + 16 + 32;

impl Cursor {
    /// The value of `after`.
    pub(crate) fn encode(self, parameters: &Parameters) -> String {
        let (kind, number, id) = match self {
            Self::Id(id) => ('i', 0, id),
            Self::Distance(metres, id) => ('d', metres.to_bits(), id),
            Self::Event(at, id) => ('e', at.as_microsecond().cast_unsigned(), id),
        };
        format!("{kind}{:016x}{number:016x}{}", parameters.fingerprint(), id.simple())
    }

    /// Reads `after`.
    ///
    /// # Errors
    ///
    /// If it comes from another query, or from nowhere.
    pub(crate) fn parse(parameters: &Parameters) -> Result<Option<Self>, Problem> {
        let Some(text) = parameters.text("after") else { return Ok(None) };
        let cursor = decode(text, parameters.fingerprint());
        let detail =
            "must be the `after` of an earlier response to the same query; leave it out to begin again";
        cursor.map(Some).ok_or_else(|| Problem::invalid("after", detail))
    }
}

fn decode(text: &str, fingerprint: u64) -> Option<Cursor> {
    if text.len() != LENGTH || !text.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
        return None;
    }
    let number = |from: usize, to: usize| u64::from_str_radix(text.get(from..to)?, 16).ok();
    if number(1, 17)? != fingerprint {
        return None;
    }
    let (number, id) = (number(17, 33)?, text.get(33..)?.parse().ok()?);
    match text.get(..1)? {
        "i" => Some(Cursor::Id(id)),
        "d" => Some(f64::from_bits(number))
            .filter(|metres| !metres.is_nan())
            .map(|metres| Cursor::Distance(metres, id)),
        "e" => Some(Cursor::Event(Timestamp::from_microsecond(number.cast_signed()).ok()?, id)),
        _other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(query: &str) -> Parameters {
        Parameters::parse(Some(query), &["after", "limit", "online", "provider"]).unwrap()
    }

    #[test]
    fn a_cursor_belongs_to_its_query() {
        let query = parameters("online=true&provider=niu&limit=5");
        let id = Uuid::from_u128(0x0123);
        let at = Timestamp::from_microsecond(-5).unwrap();
        for cursor in [Cursor::Id(id), Cursor::Distance(12.5, id), Cursor::Event(at, id)] {
            let after = cursor.encode(&query);
            let next = parameters(&format!("limit=7&provider=niu&online=true&after={after}"));
            assert_eq!(Cursor::parse(&next), Ok(Some(cursor)));
            let other = parameters(&format!("online=false&provider=niu&after={after}"));
            assert!(Cursor::parse(&other).is_err());
        }
        for wrong in ["", "x", "%00", &"i".repeat(LENGTH), &"0".repeat(LENGTH)] {
            assert!(Cursor::parse(&parameters(&format!("after={wrong}"))).is_err(), "{wrong}");
        }
    }
}
