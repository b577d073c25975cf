//! How a command ends when it does not end well.

use std::io::{self, Write};
use std::process::ExitCode;

use kube9_db::read::{Damage, OpenError, ReadError};
use serde::Serialize;

/// Why a command failed. Each has its exit code, a sentence, and what to do.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line cannot be meant: exit 2.
    Usage(String),
    /// Help or version was asked for: goes to stdout, exit 0.
    Help(String),
    /// The row does not exist: exit 1.
    NotFound(String),
    /// No database to ask: exit 1.
    Open(OpenError),
    /// The database did not answer: exit 1.
    Read(ReadError),
    /// The answer could not be written: exit 1, or 0 where the reader has gone.
    Write(io::Error),
    /// The answer is written, and it says that something is wrong: exit 1.
    Told,
    /// Any of these, of a command that was asked for JSON.
    InJson(Box<Failure>),
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// The error line of `--format=json`.
#[derive(Serialize)]
struct ErrorLine<'a> {
    error: &'a str,
    details: &'a str,
}

impl Failure {
    /// So that it is reported as JSON.
    pub(crate) fn in_json(self, json: bool) -> Self {
        if json {
            Self::InJson(Box::new(self))
        } else {
            self
        }
    }

    /// Tells it and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (failure, json) = match self {
            Self::InJson(inner) => (*inner, true),
            other => (other, false),
        };
        let code = failure.code();
        match &failure {
            Self::Help(text) => return help(text),
            Self::Told => return code,
            Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => return code,
            _ => {}
        }
        let (error, details) = failure.words();
        let line = if json {
            serde_json::to_string(&ErrorLine {
                error: &error,
                details: &details,
            })
            .unwrap_or_default()
        } else if details.is_empty() {
            crate::text::safe_lines(&format!("error: {error}"))
        } else {
            crate::text::safe_lines(&format!("error: {error}\n{details}"))
        };
        // Nobody is left to tell if stderr is closed.
        let _ = writeln!(io::stderr().lock(), "{line}");
        code
    }

    fn code(&self) -> ExitCode {
        match self {
            Self::Help(_) => ExitCode::SUCCESS,
            Self::Usage(_) => ExitCode::from(2),
            Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }

    /// What is wrong, and what to do or know about it.
    pub(crate) fn words(&self) -> (String, String) {
        match self {
            Self::Usage(text) => match text.split_once('\n') {
                Some((error, rest)) => (error.to_owned(), rest.trim_matches('\n').to_owned()),
                None => (text.clone(), "try 'kube9-query --help'".to_owned()),
            },
            Self::NotFound(what) => (format!("{what} not found"), String::new()),
            Self::Open(error) => (error.to_string(), with_causes(error.advice(), error)),
            Self::Read(error) => (error.to_string(), with_causes(read_advice(error), error)),
            Self::Write(error) => ("cannot write the output".to_owned(), error.to_string()),
            Self::Help(text) => (text.clone(), String::new()),
            Self::Told => (String::new(), String::new()),
            Self::InJson(inner) => inner.words(),
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

fn help(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => Failure::Write(error).report(),
    }
}
