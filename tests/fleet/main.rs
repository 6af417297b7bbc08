//! Integration tests over the real services.
