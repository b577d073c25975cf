//! The redaction on tables of texts, and on texts that were made to hurt.

mod forms;
mod hostile;
