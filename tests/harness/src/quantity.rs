//! Quantities of Kubernetes, such as `250m`, `75M`, `192Mi`.

use serde::{Deserialize, Deserializer};

/// The suffixes. Longer ones come first, because the first match counts.
const SUFFIXES: [(&str, f64); 13] = [
    ("Ki", 1_024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// A quantity in its base unit: cores or bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity(pub f64);

impl Quantity {
    /// The number of bytes, if it is whole and plausible for a machine.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    pub fn bytes(self) -> Option<u64> {
        (self.0.fract() == 0.0 && (0.0..1e15).contains(&self.0)).then_some(self.0 as u64)
    }
}

/// A quantity in YAML is text or a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(Self(number)),
            Written::Text(text) => parse(&text)
                .map(Self)
                .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a quantity"))),
        }
    }
}

fn parse(text: &str) -> Option<f64> {
    // Plain numbers first, because the E of 1E3 is not a suffix.
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let scaled =
        |(suffix, factor): (&str, f64)| Some(text.strip_suffix(suffix)?.parse::<f64>().ok()? * factor);
    SUFFIXES.into_iter().find_map(scaled)
}

#[cfg(test)]
mod tests {
    use super::{Quantity, parse};

    #[test]
    fn quantities_are_read_as_kubernetes_does() {
        assert_eq!(parse("75M"), Some(75e6));
        assert_eq!(parse("1750k"), Some(1_750e3));
        assert_eq!(parse("250m"), Some(0.25));
        assert_eq!(parse("192Mi"), Some(192.0 * 1_048_576.0));
        assert_eq!(parse("1E3"), Some(1_000.0));
        assert_eq!(parse("2E"), Some(2e18));
        assert_eq!(parse("0.05"), Some(0.05));
        assert_eq!([parse("fast"), parse("M"), parse("")], [None; 3]);
    }

    #[test]
    fn bytes_are_whole_and_not_negative() {
        let bytes = |text| parse(text).map(Quantity).and_then(Quantity::bytes);
        assert_eq!(bytes("384Mi"), Some(384 << 20));
        assert_eq!([bytes("100m"), bytes("-1"), bytes("2E")], [None; 3]);
    }

    #[test]
    fn a_number_is_a_quantity_too() {
        assert_eq!(yaml_serde::from_str::<Quantity>("2").unwrap(), Quantity(2.0));
        assert_eq!(yaml_serde::from_str::<Quantity>("\"500m\"").unwrap(), Quantity(0.5));
        assert!(yaml_serde::from_str::<Quantity>("fast").is_err());
    }
}
