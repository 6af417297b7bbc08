//! The commands that operators need.

pub(crate) mod dead_letters;
