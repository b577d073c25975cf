//! Errors of a command: message, advice and exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use kube9_db::read::{Damage, OpenError, ReadError};
use serde::Serialize;

use crate::exit_code;

/// Why a command failed. Each has an exit code, a message and advice.
#[derive(Debug)]
pub(crate) enum CliError {
    /// Invalid command line: exit 2.
    Usage(String),
    /// Help or version was requested: printed to stdout, exit 0.
    Help(String),
    /// The row does not exist: exit 1.
    NotFound(String),
    /// The record has no answer: exit 1.
    NoAnswer { message: String, advice: String },
    /// The database cannot be opened: exit 1.
    Open(OpenError),
    /// The query failed: exit 1.
    Read(ReadError),
    /// The output cannot be written: exit 1, or 0 if the pipe is closed.
    Write(io::Error),
    /// The output shows the error already: exit 1.
    AlreadyReported,
    /// Any of these, of a command with `--format=json`.
    Json(Box<CliError>),
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<ReadError> for CliError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// The error as JSON.
#[derive(Serialize)]
struct ErrorLine<'a> {
    error: &'a str,
    details: &'a str,
}

impl CliError {
    /// The record has no answer; says why, and what to do.
    pub(crate) fn no_answer(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::NoAnswer {
            message: message.into(),
            advice: advice.into(),
        }
    }

    /// Reports the error as JSON if `json`.
    pub(crate) fn with_json(self, json: bool) -> Self {
        if json {
            Self::Json(Box::new(self))
        } else {
            self
        }
    }

    /// Prints the error and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (error, json) = match self {
            Self::Json(inner) => (*inner, true),
            other => (other, false),
        };
        let code = error.exit_code();
        match &error {
            Self::Help(text) => return print_help(text),
            Self::AlreadyReported => return code,
            Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => return code,
            _ => {}
        }
        let (message, details) = error.message_and_details();
        let line = if json {
            serde_json::to_string(&ErrorLine {
                error: &message,
                details: &details,
            })
            .unwrap_or_default()
        } else if details.is_empty() {
            crate::text::safe_lines(&format!("error: {message}"))
        } else {
            crate::text::safe_lines(&format!("error: {message}\n{details}"))
        };
        // If stderr is closed too, there is nothing left to do.
        let _ = writeln!(io::stderr().lock(), "{line}");
        code
    }

    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Help(_) => exit_code::SUCCESS,
            Self::Usage(_) => exit_code::USAGE,
            Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => exit_code::SUCCESS,
            _ => exit_code::FAILED,
        })
    }

    /// What is wrong, and what to do.
    pub(crate) fn message_and_details(&self) -> (String, String) {
        match self {
            Self::Usage(text) => match text.split_once('\n') {
                Some((error, rest)) => (error.to_owned(), rest.trim_matches('\n').to_owned()),
                None => (text.clone(), "try 'kube9-query --help'".to_owned()),
            },
            Self::NoAnswer { message, advice } => (message.clone(), advice.clone()),
            Self::NotFound(what) => (format!("{what} not found"), String::new()),
            Self::Open(error) => (error.to_string(), with_causes(error.advice(), error)),
            Self::Read(error) => (error.to_string(), with_causes(read_advice(error), error)),
            Self::Write(error) => ("cannot write the output".to_owned(), error.to_string()),
            Self::Help(text) => (text.clone(), String::new()),
            Self::AlreadyReported => (String::new(), String::new()),
            Self::Json(inner) => inner.message_and_details(),
        }
    }
}

fn read_advice(error: &ReadError) -> &'static str {
    match error {
        ReadError::Timeout(_) => {
            "narrow the query (--since, --object-namespace), or raise --timeout (at most 30)"
        }
        ReadError::Corrupt(Damage::Inconsistent) => {
            "nothing is shown, since rows would be missing; save the readable rows with `sqlite3 FILE .recover`, \
             then restore a backup or delete the file, and restart kube9-recorder"
        }
        ReadError::Corrupt(_) => {
            "restart kube9-recorder; it quarantines a damaged file and creates a new one"
        }
        ReadError::TooLong(_) => {
            "the file is damaged: kube9 writes no such value; exclude the row (--since, --until, --type), or restart kube9-recorder"
        }
        ReadError::TooManyGroups(_) => {
            "narrow the query (--since, --object-namespace), or group by a column with fewer values"
        }
        ReadError::Memory => "narrow the query (--since, --object-namespace, --limit, no --offset)",
        ReadError::Sqlite(_) => "try again in a moment",
    }
}

fn with_causes(advice: &str, error: &dyn std::error::Error) -> String {
    let mut text = advice.to_owned();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" ({error})"));
        cause = error.source();
    }
    text
}

fn print_help(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => CliError::Write(error).report(),
    }
}
