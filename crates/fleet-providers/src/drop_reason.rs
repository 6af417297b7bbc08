//! Why a value is not used.

/// Why a value is not used: a closed list for metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DropReason {
    /// It has a type, a notation or a word that this provider is not known to send.
    NotUnderstood,
    /// It is a number outside of the possible range.
    OutOfRange,
    /// It is the position 0/0, which devices without a fix send.
    NoFix,
    /// Its time cannot be parsed. The event's time is used instead, or the time of receipt for the event itself.
    TimeNotUnderstood,
    /// Its time is implausible. The event's time is used instead, or the time of receipt for the event itself.
    TimeImplausible,
    /// A text has U+0000, an unpaired surrogate or invalid UTF-8. Each is stored as U+FFFD.
    InvalidCharacter,
    /// The event has an unknown type, and its attributes are not read.
    UnknownType,
}

impl DropReason {
    /// All of them.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The name in metric labels and logs.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
