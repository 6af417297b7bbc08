//! The providers' formats, tested through the public API: bytes in, events or reasons out.

#[cfg(test)]
mod any_bytes;
#[cfg(test)]
mod authentication;
#[cfg(test)]
mod backlogs;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod conversions;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod forgeries;
#[cfg(test)]
mod linear;
#[cfg(test)]
mod losses;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod quantities;
#[cfg(test)]
mod reparse;
#[cfg(test)]
mod support;
#[cfg(test)]
mod times;
