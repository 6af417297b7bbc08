//! Reads one event: gives each value its time, and records values that are present and not used.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::attributes::Attribute;
use crate::drop_reason::DropReason;
use crate::dropped::DroppedValue;
use crate::fields::{Fields, Value};
use crate::message::{Limits, Message};
use crate::plausible::Plausible;
use crate::quantity;
use crate::reading::Reading;
use crate::value::{Position, Timed};

/// The state of reading one event.
pub(crate) struct EventReader<'a> {
    /// The time of observation as the provider wrote it; empty if there is none.
    pub(crate) written: Cow<'a, str>,
    /// When the event was observed.
    pub(crate) observed_at: Timestamp,
    /// Whether a time in it is implausible.
    pub(crate) is_skewed: bool,
    /// The values that are present and not used.
    pub(crate) dropped: Vec<DroppedValue<'a>>,
    /// When the event was received, plus its place in the message.
    pub(crate) received_at: Timestamp,
    plausible: Plausible,
}

impl<'a> EventReader<'a> {
    /// A reader whose time of observation is the first plausible one of these values, or the time of receipt if there is none.
    pub(crate) fn new<'v>(
        message: &Message<'_>,
        limits: &Limits,
        candidates: impl IntoIterator<Item = Option<&'v Value<'a>>>,
    ) -> Self
    where
        'a: 'v,
    {
        let plausible = Plausible::new(message, limits);
        let mut reader = Self {
            written: Cow::Borrowed(""),
            observed_at: plausible.received_at,
            is_skewed: false,
            dropped: Vec::new(),
            received_at: message.received_at,
            plausible,
        };
        let mut too_old = None;
        for value in candidates.into_iter().flatten() {
            match reader.believed(Attribute::ObservedAt, value) {
                Some(time) if reader.plausible.is_too_old(time) => {
                    too_old.get_or_insert((value, time));
                    continue;
                }
                Some(time) => {
                    if let Some((value, _)) = too_old.take() {
                        // Two times of one event that differ so much cannot both be right.
                        let reason = DropReason::TimeImplausible;
                        reader.note(Attribute::ObservedAt, reason, value.text().unwrap_or_default());
                        reader.is_skewed = true;
                    }
                    reader.written = value.written();
                    reader.observed_at = time;
                    return reader;
                }
                None => {}
            }
            // An implausible time still distinguishes two events.
            if reader.written.is_empty() && matches!(value.time(), Reading::Known(_)) {
                reader.written = value.written();
            }
        }
        if let Some((value, time)) = too_old {
            reader.written = value.written();
            reader.observed_at = time;
        }
        reader
    }

    /// The value at its own time, or at the event's time if its own is absent or implausible. An old value does not make the
    /// event too old: only the event's time does.
    pub(crate) fn timed<T>(
        &mut self,
        attribute: Attribute,
        value: Reading<'a, T>,
        at: Option<&Value<'a>>,
    ) -> Option<Timed<T>> {
        let value = self.value(attribute, value)?;
        let at = at.and_then(|at| self.believed(attribute, at)).unwrap_or(self.observed_at);
        Some(Timed { value, at: at.into(), received_at: self.received_at.into() })
    }

    /// The value, if there is one. Records a dropped one.
    pub(crate) fn value<T>(&mut self, attribute: Attribute, value: Reading<'a, T>) -> Option<T> {
        match value {
            Reading::Known(value) => Some(value),
            Reading::Absent => None,
            Reading::Dropped(reason, written) => {
                self.note(attribute, reason, written);
                None
            }
        }
    }

    /// Records a value that is not used.
    pub(crate) fn note(&mut self, attribute: Attribute, reason: DropReason, written: Cow<'a, str>) {
        self.dropped.push(DroppedValue { attribute, reason, written });
    }

    /// As [`EventReader::position`], for coordinates in a separate object. An object with other members only is not understood.
    pub(crate) fn place(
        &mut self,
        fields: &Fields<'a>,
        lat: Reading<'a, f64>,
        lon: Reading<'a, f64>,
    ) -> Reading<'a, Position> {
        match self.position(fields, lat, lon) {
            Reading::Absent if !fields.0.is_empty() => {
                Reading::Dropped(DropReason::NotUnderstood, Cow::Borrowed("no coordinates"))
            }
            position @ (Reading::Absent | Reading::Known(_) | Reading::Dropped(..)) => position,
        }
    }

    /// The position of a pair of coordinates, with the altitude (metres), heading (degrees) and accuracy (metres) in `fields`.
    pub(crate) fn position(
        &mut self,
        fields: &Fields<'a>,
        lat: Reading<'a, f64>,
        lon: Reading<'a, f64>,
    ) -> Reading<'a, Position> {
        let coordinates = match (lat, lon) {
            (Reading::Known(lat), Reading::Known(lon)) => (lat, lon),
            (Reading::Absent, Reading::Absent) => return Reading::Absent,
            (Reading::Dropped(reason, written), _) | (_, Reading::Dropped(reason, written)) => {
                return Reading::Dropped(reason, written);
            }
            (Reading::Absent, Reading::Known(_)) | (Reading::Known(_), Reading::Absent) => {
                return Reading::Dropped(DropReason::NotUnderstood, Cow::Borrowed("one coordinate alone"));
            }
        };
        // Devices without a fix send 0/0. No vehicle is at that place.
        if coordinates == (0.0, 0.0) {
            return Reading::Dropped(DropReason::NoFix, Cow::Borrowed("0/0"));
        }
        let (lat, lon) = coordinates;
        Reading::Known(Position {
            lat,
            lon,
            altitude_m: self.value(Attribute::Altitude, fields.number("altitude", quantity::any)),
            heading_deg: self.value(Attribute::Heading, fields.number("heading", quantity::heading_deg)),
            accuracy_m: self.value(Attribute::Accuracy, fields.number("accuracy", quantity::accuracy_m)),
        })
    }

    /// Whether the event was observed before the retention period.
    pub(crate) fn is_too_old(&self) -> bool {
        self.plausible.is_too_old(self.observed_at)
    }

    /// A time that is present, can be parsed and is plausible.
    fn believed(&mut self, attribute: Attribute, value: &Value<'a>) -> Option<Timestamp> {
        let (reason, written) = match value.time() {
            Reading::Absent => return None,
            Reading::Known(time) if self.plausible.includes(time) => return Some(time),
            Reading::Known(_) => (DropReason::TimeImplausible, value.text().unwrap_or_default()),
            Reading::Dropped(reason, written) => (reason, written),
        };
        self.is_skewed = true;
        self.note(attribute, reason, written);
        None
    }
}
