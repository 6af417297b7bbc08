//! Why a value is not used.

/// Why a value is not used: a closed list for metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DropReason {
    /// Its type, notation or word is not one that this provider is known to send.
    NotUnderstood,
    /// It is an impossible number.
    OutOfRange,
    /// It is the position 0/0, which units without a fix send.
    NoFix,
    /// Its time cannot be read. The event's time is used instead, or the time of receipt for the event's own
    /// time.
    TimeNotUnderstood,
    /// Its time is impossible. The event's time is used instead, or the time of receipt for the event's own
    /// time.
    TimeImplausible,
    /// A text has U+0000, an unpaired surrogate or bytes that are not UTF-8. Each is stored as U+FFFD.
    InvalidCharacter,
    /// The event type is unknown. Its attributes are not read.
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
