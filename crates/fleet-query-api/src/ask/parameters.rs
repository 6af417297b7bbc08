//! The parameters of a query, by name, each at most once.

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};

use crate::problem::Problem;
use crate::vehicle::Fnv;

/// 0001-01-01T00:00:00Z.
const YEAR_1: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// Longer durations are mistakes.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 366);

/// The parameters of one request. None of them is unknown.
#[derive(Clone, Debug)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a query.
    ///
    /// # Errors
    ///
    /// A parameter that is not among `known`, or one that is given twice.
    pub(crate) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                return Err(Problem::unknown(&name, known));
            }
            if pairs.iter().any(|(given, _value)| *given == *name) {
                return Err(Problem::invalid(&name, "is given twice; give it once"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter, if it is given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _value)| given == name).map(|(_name, value)| value.as_str())
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, Problem> {
        let value =
            |text: &str| text.parse().map_err(|_other| Problem::invalid(name, "must be true or false"));
        self.text(name).map(value).transpose()
    }

    /// A finite number from `least` to `most`.
    pub(crate) fn number(&self, name: &str, least: f64, most: f64) -> Result<Option<f64>, Problem> {
        let value = |text: &str| {
            let number = text.parse::<f64>().ok().filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| Problem::invalid(name, format!("must be a number from {least} to {most}")))
        };
        self.text(name).map(value).transpose()
    }

    /// A duration such as `30s`, `10m`, `2h` or `1d`.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<SignedDuration>, Problem> {
        let value = |text: &str| {
            let detail = "must be a whole number and a unit, at most 366d: such as 30s, 10m, 2h or 1d";
            duration(text).ok_or_else(|| Problem::invalid(name, detail))
        };
        self.text(name).map(value).transpose()
    }

    /// A time in RFC 3339.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let value = |text: &str| {
            let detail = "must be a time in RFC 3339, such as 2026-05-01T12:00:00Z (write + as %2B)";
            // PostgreSQL knows no time before 4713 BC, and vehicles have none before the year 1.
            let time = text.parse::<Timestamp>().ok().filter(|time| *time >= YEAR_1);
            time.ok_or_else(|| Problem::invalid(name, detail))
        };
        self.text(name).map(value).transpose()
    }

    /// How many items a page may have: from 1 to `most`, or `default`.
    pub(crate) fn limit(&self, default: usize, most: usize) -> Result<usize, Problem> {
        let Some(text) = self.text("limit") else { return Ok(default.min(most)) };
        let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
        limit.ok_or_else(|| Problem::invalid("limit", format!("must be a whole number from 1 to {most}")))
    }

    /// Distinguishes queries, except for `limit` and `after`. The order of the parameters does not matter.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut pairs: Vec<_> =
            self.0.iter().filter(|(name, _)| name != "limit" && name != "after").collect();
        pairs.sort();
        let mut hash = Fnv::default();
        for (name, value) in pairs {
            // Writing into a number cannot fail.
            let _written = write!(hash, "{}:{name}={}:{value}&", name.len(), value.len());
        }
        hash.0
    }
}

fn duration(text: &str) -> Option<SignedDuration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds: i64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _other => return None,
    };
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let duration = SignedDuration::from_secs(digits.parse::<i64>().ok()?.checked_mul(seconds)?);
    (duration > SignedDuration::ZERO && duration <= LONGEST).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("10m"), Some(SignedDuration::from_mins(10)));
        assert_eq!(duration("366d"), Some(LONGEST));
        for wrong in
            ["", "m", "10", "-1m", "+1m", "1.5h", "0s", "367d", "10 m", "9999999999999999999d", "1\u{20ac}"]
        {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_parameter_is_known_and_given_once() {
        let problem = |query| Parameters::parse(Some(query), &["limit", "online"]).unwrap_err();
        assert_eq!(problem("onlin=true"), Problem::unknown("onlin", &["limit", "online"]));
        assert_eq!(problem("limit=1&limit=1"), Problem::invalid("limit", "is given twice; give it once"));
    }
}
