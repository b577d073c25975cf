//! Properties of stdout: its width, and whether it shows colors.

use std::env;
use std::io::{self, IsTerminal};

use kube9_model::Severity;

/// The destination of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminal {
    pub(crate) is_terminal: bool,
    /// Width in columns; `None` if stdout is not a terminal, where nothing is truncated.
    pub(crate) columns: Option<usize>,
    pub(crate) has_colors: bool,
}

impl Terminal {
    /// Nothing readable fits into less.
    const COLUMNS_MIN: usize = 40;
    /// For terminals that do not report their width.
    const COLUMNS_DEFAULT: usize = 80;

    pub(crate) fn of_stdout() -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Self {
                is_terminal: false,
                columns: None,
                has_colors: false,
            };
        }
        let reported =
            rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| usize::from(size.ws_col));
        let columns = if reported == 0 {
            Self::COLUMNS_DEFAULT
        } else {
            reported.max(Self::COLUMNS_MIN)
        };
        let is_disabled = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_capable = env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self {
            is_terminal: true,
            columns: Some(columns),
            has_colors: is_capable && !is_disabled,
        }
    }

    /// SGR sequence before text of this severity; empty without colors.
    pub(crate) fn severity_start(self, severity: &str) -> &'static str {
        if !self.has_colors {
            return "";
        }
        match severity.parse() {
            Ok(Severity::Critical) => "\u{1b}[1;31m",
            Ok(Severity::Error) => "\u{1b}[31m",
            Ok(Severity::Warning) => "\u{1b}[33m",
            Ok(Severity::Info) | Err(_) => "",
        }
    }

    /// SGR sequences around headings and labels.
    pub(crate) const fn bold(self) -> (&'static str, &'static str) {
        if self.has_colors {
            ("\u{1b}[1m", "\u{1b}[0m")
        } else {
            ("", "")
        }
    }

    /// SGR sequences around a healthy state.
    pub(crate) const fn green(self) -> (&'static str, &'static str) {
        if self.has_colors {
            ("\u{1b}[32m", "\u{1b}[0m")
        } else {
            ("", "")
        }
    }

    /// SGR sequences around markers.
    pub(crate) const fn cyan(self) -> (&'static str, &'static str) {
        if self.has_colors {
            ("\u{1b}[36m", "\u{1b}[0m")
        } else {
            ("", "")
        }
    }

    /// SGR sequences around secondary text.
    pub(crate) const fn dim(self) -> (&'static str, &'static str) {
        if self.has_colors {
            ("\u{1b}[2m", "\u{1b}[0m")
        } else {
            ("", "")
        }
    }

    /// SGR sequence after text of this severity.
    pub(crate) fn severity_end(self, severity: &str) -> &'static str {
        if self.severity_start(severity).is_empty() {
            ""
        } else {
            "\u{1b}[0m"
        }
    }
}
