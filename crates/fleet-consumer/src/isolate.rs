//! Parses the messages of a batch that crashed its consumers one by one, in child processes.
//!
//! That consumers died while they parsed a batch proves nothing: something else may have killed them. A child process is
//! watched, so that its end shows whether the message crashed it.

pub mod child;
mod child_process;
mod exit_status;
pub(crate) mod isolated_parser;
