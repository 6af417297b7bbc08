//! Why a message, or one of its events, cannot be stored.

/// A closed list: each variant is the reason of a dead letter, and [`ParseError::reason`] its stable name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum ParseError {
    /// A form, or one of its decoded values, is not UTF-8.
    #[error("the text is not UTF-8")]
    InvalidUtf8,
    /// The body or the event is neither JSON nor a form as the provider sends it.
    #[error("it cannot be parsed: {0}")]
    Unparsable(String),
    /// The vehicle's id has a control character, or U+FFFD in place of a lost character.
    #[error(
        "the vehicle id has a control character, or one that is no text (U+0000, an unpaired surrogate, no UTF-8)"
    )]
    InvalidCharacter,
    /// JSON nested deeper than [`crate::Limits::max_depth`].
    #[error("the event is nested too deeply")]
    TooDeep,
    /// More events than [`crate::Limits::max_events`].
    #[error("the message has too many events ({0})")]
    TooManyEvents(usize),
    /// The event names no vehicle.
    #[error("the event names no vehicle")]
    MissingVehicleId,
    /// The event was observed longer than [`crate::Limits::max_age`] before it was received.
    #[error("the event is older than the retention")]
    TooOld,
}

impl ParseError {
    /// All names that [`ParseError::reason`] returns.
    pub const REASONS: &[&'static str] = <Self as strum::VariantNames>::VARIANTS;

    /// The reason's name in `dead_letters.reason` and in metric labels.
    pub fn reason(&self) -> &'static str {
        self.into()
    }
}
