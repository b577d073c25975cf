//! What stdout is: how wide, and whether it shows colours.

use std::env;
use std::io::{self, IsTerminal};

use kube9_model::Severity;

/// Where the result goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    pub(crate) is_terminal: bool,
    /// Columns; `None` off a terminal, where nothing is cut.
    pub(crate) columns: Option<usize>,
    pub(crate) colours: bool,
}

impl Screen {
    /// Narrower than this nothing readable fits.
    const COLUMNS_MIN: usize = 40;
    /// What terminals have that do not tell.
    const COLUMNS_DEFAULT: usize = 80;

    pub(crate) fn of_stdout() -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Self {
                is_terminal: false,
                columns: None,
                colours: false,
            };
        }
        let told =
            rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| usize::from(size.ws_col));
        let columns = if told == 0 {
            Self::COLUMNS_DEFAULT
        } else {
            told.max(Self::COLUMNS_MIN)
        };
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let capable = env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self {
            is_terminal: true,
            columns: Some(columns),
            colours: capable && !refused,
        }
    }

    /// The SGR sequence that begins text of this severity; empty where there are no colours.
    pub(crate) fn begin(self, severity: &str) -> &'static str {
        if !self.colours {
            return "";
        }
        match severity.parse() {
            Ok(Severity::Critical) => "\u{1b}[1;31m",
            Ok(Severity::Error) => "\u{1b}[31m",
            Ok(Severity::Warning) => "\u{1b}[33m",
            Ok(Severity::Info) | Err(_) => "",
        }
    }

    /// The sequences around what people look for first: headings, labels.
    pub(crate) const fn strong(self) -> (&'static str, &'static str) {
        if self.colours {
            ("\u{1b}[1m", "\u{1b}[0m")
        } else {
            ("", "")
        }
    }

    /// The sequences around what is as it should be.
    pub(crate) const fn good(self) -> (&'static str, &'static str) {
        if self.colours {
            ("\u{1b}[32m", "\u{1b}[0m")
        } else {
            ("", "")
        }
    }

    /// The sequences around marks that are neither good nor bad.
    pub(crate) const fn mark(self) -> (&'static str, &'static str) {
        if self.colours {
            ("\u{1b}[36m", "\u{1b}[0m")
        } else {
            ("", "")
        }
    }

    /// The sequences around what they look for last.
    pub(crate) const fn faint(self) -> (&'static str, &'static str) {
        if self.colours {
            ("\u{1b}[2m", "\u{1b}[0m")
        } else {
            ("", "")
        }
    }

    /// The SGR sequence that ends it.
    pub(crate) fn end(self, severity: &str) -> &'static str {
        if self.begin(severity).is_empty() {
            ""
        } else {
            "\u{1b}[0m"
        }
    }
}
