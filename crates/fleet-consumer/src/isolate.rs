//! Parses the messages of a batch that crashed its consumers one by one, each in a child process.

pub mod child;
pub(crate) mod isolated_parser;
