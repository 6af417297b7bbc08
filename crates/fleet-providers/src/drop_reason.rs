//! Why a value is not used.

/// Why a value is not used: a closed list for metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DropReason {
    /// It is not of a type, in a notation or one of the words that this provider is known to send.
    NotUnderstood,
    /// It is a number that cannot be true.
    OutOfRange,
    /// The position 0/0, which units without a fix send.
    NoFix,
    /// Its time is there and cannot be read; the event's time is used, or the time of receipt if it is the event's own.
    TimeNotUnderstood,
    /// Its time cannot be true; the event's time is used, or the time of receipt if it is the event's own.
    TimeImplausible,
    /// A text has U+0000, half of a surrogate pair or bytes that are no UTF-8; each is stored as U+FFFD.
    InvalidCharacter,
    /// The event is of a type that nobody knows, and is not searched for attributes.
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
