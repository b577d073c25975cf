//! Parsers of option values; their errors list the valid values.

use std::ffi::OsStr;
use std::time::Duration;

use clap::builder::{PossibleValue, TypedValueParser};
use kube9_db::read::{Cursor, GroupBy};

/// A parser with a list of values for completion scripts.
#[derive(Clone)]
pub(crate) struct EnumValueParser<T> {
    parse: fn(&str) -> Result<T, String>,
    values: &'static [&'static str],
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for EnumValueParser<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        self.parse.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.values.iter().map(PossibleValue::new)))
    }
}

pub(super) const FORMAT: EnumValueParser<Format> = EnumValueParser {
    parse: format,
    values: &[
        "json",
        "yaml",
        "table",
        "wide",
        "jsonl",
        "csv",
        "kubectl-patch",
        "md",
    ],
};
pub(super) const SHELL: EnumValueParser<Shell> = EnumValueParser {
    parse: shell,
    values: &["bash", "zsh", "fish"],
};
pub(super) const GROUP_BY: EnumValueParser<GroupBy> = EnumValueParser {
    parse: group_by,
    values: &[
        "type",
        "severity",
        "namespace",
        "kind",
        "name",
        "reason",
        "node",
        "owner",
        "container",
        "day",
        "hour",
    ],
};

impl<T> EnumValueParser<T> {
    pub(super) const fn new(
        parse: fn(&str) -> Result<T, String>,
        values: &'static [&'static str],
    ) -> Self {
        Self { parse, values }
    }
}

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
    Table,
    Wide,
    Jsonl,
    Csv,
    /// Commands of kubectl.
    KubectlPatch,
    /// Markdown.
    Md,
}

impl Format {
    const ALL: [Self; 8] = [
        Self::Json,
        Self::Yaml,
        Self::Table,
        Self::Wide,
        Self::Jsonl,
        Self::Csv,
        Self::KubectlPatch,
        Self::Md,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Table => "table",
            Self::Wide => "wide",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::KubectlPatch => "kubectl-patch",
            Self::Md => "md",
        }
    }
}

pub(super) fn format(text: &str) -> Result<Format, String> {
    Format::ALL
        .into_iter()
        .find(|format| format.as_str() == text)
        .ok_or_else(|| {
            let valid: Vec<&str> = Format::ALL.iter().map(|format| format.as_str()).collect();
            format!("valid values: {}", valid.join(", "))
        })
}

pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('s').unwrap_or(text).parse() {
        Ok(seconds @ 1..=30) => Ok(Duration::from_secs(seconds)),
        _ => Err("use whole seconds, 1 to 30".to_owned()),
    }
}

pub(super) fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit @ 1..=1000) => Ok(limit),
        _ => Err(
            "use a number of rows, 1 to 1000; for more, use --after with pagination.next"
                .to_owned(),
        ),
    }
}

pub(super) fn tail(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(tail @ 0..=1000) => Ok(tail),
        _ => Err("use a number of rows, 0 to 1000".to_owned()),
    }
}

pub(super) fn group_by(text: &str) -> Result<GroupBy, String> {
    GroupBy::ALL
        .into_iter()
        .find(|column| column.as_str() == text)
        .ok_or_else(|| {
            let valid: Vec<&str> = GroupBy::ALL.iter().map(|column| column.as_str()).collect();
            format!("valid values: {}", valid.join(", "))
        })
}

pub(super) fn offset(text: &str) -> Result<u64, String> {
    match text.parse::<i64>().map(u64::try_from) {
        Ok(Ok(offset)) => Ok(offset),
        _ => Err("use a number of rows, 0 or more".to_owned()),
    }
}

pub(super) fn cursor(text: &str) -> Result<Cursor, String> {
    text.parse()
        .map_err(|_| "invalid cursor; use pagination.next of the previous page".to_owned())
}

/// `evt_`, 8 digits, `_`, 6 digits, `_`, 6 letters or digits: imported rows have more than hex digits there.
pub(super) fn id(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('_').collect();
    let digits =
        |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_digit());
    match parts[..] {
        ["evt", date, time, last]
            if digits(date, 8)
                && digits(time, 6)
                && last.len() == 6
                && last.bytes().all(|b| b.is_ascii_alphanumeric()) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("ids look like evt_20251202_103045_a7f3b9".to_owned()),
    }
}

/// A column of an event, or a key of its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field {
    Id,
    EventType,
    Severity,
    Title,
    Description,
    ObjectKind,
    ObjectNamespace,
    ObjectName,
    Metadata,
    /// `metadata.KEY`
    MetadataKey(String),
    CreatedAt,
}

impl Field {
    /// The columns of the relation `events`, in order.
    pub(crate) const COLUMNS: [Self; 10] = [
        Self::Id,
        Self::EventType,
        Self::Severity,
        Self::Title,
        Self::Description,
        Self::ObjectKind,
        Self::ObjectNamespace,
        Self::ObjectName,
        Self::Metadata,
        Self::CreatedAt,
    ];

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Id => "id",
            Self::EventType => "event_type",
            Self::Severity => "severity",
            Self::Title => "title",
            Self::Description => "description",
            Self::ObjectKind => "object_kind",
            Self::ObjectNamespace => "object_namespace",
            Self::ObjectName => "object_name",
            Self::Metadata => "metadata",
            Self::MetadataKey(path) => path,
            Self::CreatedAt => "created_at",
        }
    }
}

pub(super) fn field(text: &str) -> Result<Field, String> {
    if let Some(field) = Field::COLUMNS
        .into_iter()
        .find(|field| field.name() == text)
    {
        return Ok(field);
    }
    if text
        .strip_prefix("metadata.")
        .is_some_and(|key| !key.is_empty())
    {
        return Ok(Field::MetadataKey(text.to_owned()));
    }
    let valid: Vec<String> = Field::COLUMNS
        .iter()
        .map(|field| field.name().to_owned())
        .collect();
    Err(format!("valid values: {}, metadata.KEY", valid.join(", ")))
}

/// A shell whose completion script is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn shell(text: &str) -> Result<Shell, String> {
    match text {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        _ => Err("valid values: bash, zsh, fish".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn all_parse<T>(parser: &EnumValueParser<T>, count: usize) {
        assert_eq!(parser.values.len(), count);
        for value in parser.values {
            assert!((parser.parse)(value).is_ok(), "{value}");
        }
    }

    #[test]
    fn completion_values_are_complete() {
        all_parse(&FORMAT, Format::ALL.len());
        all_parse(&SHELL, 3);
        all_parse(&GROUP_BY, GroupBy::ALL.len());
    }
}
