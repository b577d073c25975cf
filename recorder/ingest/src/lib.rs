//! What is done to a text before it is stored: pure functions, without I/O and without the rest of the recorder.

pub mod redact;
pub mod sensitive_key;
