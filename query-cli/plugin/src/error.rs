//! Errors and exit codes.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

/// Why nothing could be answered.
#[derive(Debug)]
pub(crate) enum PluginError {
    /// The command line is invalid, or names too little: exit 2.
    Usage(String),
    /// kubectl or the pod failed: exit 1.
    Failed(String),
}

/// Some clusters did not answer.
pub(crate) const PARTIAL: u8 = 3;

impl PluginError {
    /// What went wrong, without the exit code.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Usage(text) | Self::Failed(text) => text,
        }
    }

    /// Prints it to stderr.
    pub(crate) fn report(&self) -> ExitCode {
        let (text, code) = match self {
            Self::Usage(text) => (text, 2),
            Self::Failed(text) => (text, 1),
        };
        note(text);
        ExitCode::from(code)
    }
}

/// Prints a line to stderr.
pub(crate) fn note(text: &str) {
    // Nobody can be told that stderr is closed.
    let _ = writeln!(stderr(), "kubectl-kube9: {}", text.trim_end());
}

/// Prints a result to stdout. A closed pipe is not an error.
pub(crate) fn print(text: &str) -> ExitCode {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            note(&format!("cannot write the output: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
