//! Posted over HTTP, read by SQL.
