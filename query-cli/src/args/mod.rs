//! The command line: words become a typed request, and nothing is done yet.

mod filter;
mod value;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use kube9_db::read::{Cursor, GroupBy};

pub(crate) use filter::FilterArgs;
pub(crate) use value::{Field, Format, Shell};

use crate::failure::Failure;

/// Where the recorder's volume is mounted.
const DATABASE: &str = "/data/kube9.db";
/// Where a recorder outside a cluster writes.
const DATABASE_HERE: &str = "./kube9-data/kube9.db";

/// What to do, and how to show it.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) options: Options,
}

/// What holds for every command.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Database file [default: /data/kube9.db, else ./kube9-data/kube9.db] [env: KUBE9_DB; DB_PATH names its directory]
    #[arg(long, global = true, value_name = "FILE")]
    db: Option<PathBuf>,
    /// json, yaml, table; where rows are shown also wide, jsonl, csv [default: table on a terminal, else json]
    #[arg(long, short = 'o', global = true, value_name = "FORMAT", value_parser = value::FORMAT, hide_possible_values = true)]
    pub(crate) format: Option<Format>,
    /// Seconds a query may take, 1 to 30
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", value_parser = value::timeout)]
    pub(crate) timeout: Duration,
}

impl Options {
    /// The database that is meant.
    pub(crate) fn database(&self) -> PathBuf {
        let named = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        if let Some(file) = self.db.clone().or_else(|| named("KUBE9_DB")) {
            return file;
        }
        if let Some(directory) = named("DB_PATH") {
            return if directory.is_file() {
                directory
            } else {
                directory.join("kube9.db")
            };
        }
        let (usual, here) = (Path::new(DATABASE), Path::new(DATABASE_HERE));
        if !usual.exists() && here.exists() {
            here.to_owned()
        } else {
            usual.to_owned()
        }
    }
}

/// Ask a kube9 database what happened in the cluster. Read-only.
#[derive(Debug, Parser)]
#[command(name = "kube9-query", version, max_term_width = 100, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

// One value a process: its size does not matter.
#[expect(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Whether the record can be trusted: recorder, gaps, drops, how far back it reaches
    #[command(after_help = STATUS_EXAMPLES)]
    Status,
    /// Ask for events
    #[command(subcommand, after_help = EXAMPLES)]
    Events(EventsCommand),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// bash, zsh or fish
        #[arg(value_name = "SHELL", value_parser = value::SHELL, hide_possible_values = true)]
        shell: Shell,
    },
    /// Sleep until told to stop, reaping orphans: what the query container runs
    Pause,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// A page of events, newest first
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// One event by its id
    #[command(after_help = GET_EXAMPLES)]
    Get(GetArgs),
    /// New and updated events as they are recorded
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(WatchArgs),
    /// How many events, by what they have in common
    #[command(after_help = STATS_EXAMPLES)]
    Stats(StatsArgs),
    /// When it began, what changed just before, and where the record has holes
    #[command(after_help = TIMELINE_EXAMPLES)]
    Timeline(TimelineArgs),
    /// All events, streamed as JSON lines or CSV
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Rows on the page, 1 to 1000
    #[arg(help_heading = None::<&str>, long, short = 'n', value_name = "N", default_value = "50", value_parser = value::limit)]
    pub(crate) limit: usize,
    /// Leave out the newest N
    #[arg(help_heading = None::<&str>, long, value_name = "N", default_value = "0", value_parser = value::offset, conflicts_with = "after")]
    pub(crate) offset: u64,
    /// Begin after the page before: its pagination.next
    #[arg(help_heading = None::<&str>, long, value_name = "CURSOR", value_parser = value::cursor)]
    pub(crate) after: Option<Cursor>,
    /// Show only these, comma-separated: id, event_type, severity, title, description, object_kind, object_namespace,
    /// object_name, metadata, metadata.KEY, created_at
    #[arg(help_heading = None::<&str>, long, value_name = "FIELDS", value_delimiter = ',', value_parser = value::field)]
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// Id as `events list` shows it, e.g. evt_20251202_103045_a7f3b9
    #[arg(value_name = "ID", value_parser = value::id)]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Show the newest N first, 0 to 1000
    #[arg(help_heading = None::<&str>, long, value_name = "N", default_value = "10", value_parser = value::tail)]
    pub(crate) tail: usize,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// type, severity, namespace, kind, name, reason, node, owner, container, day, hour; comma-separated
    #[arg(help_heading = None::<&str>, long, value_name = "PROPERTIES", default_value = "severity,type", value_delimiter = ',',
          value_parser = value::PROPERTY, hide_possible_values = true)]
    pub(crate) by: Vec<GroupBy>,
    /// Groups shown, 1 to 1000
    #[arg(help_heading = None::<&str>, long, short = 'n', value_name = "N", default_value = "50", value_parser = value::limit)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct TimelineArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Width of a bucket, e.g. 5m [default: what fits]
    #[arg(help_heading = None::<&str>, long, value_name = "SPAN", value_parser = crate::moment::parse_span)]
    pub(crate) bucket: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Only these, as for `events list`
    #[arg(help_heading = None::<&str>, long, value_name = "FIELDS", value_delimiter = ',', value_parser = value::field)]
    pub(crate) fields: Vec<Field>,
}

const EXAMPLES: &str = "\
Examples:
  kube9-query status
  kube9-query events list --since=1h --severity=warning+
  kube9-query events list --for=pod/web-5d9c7b-x2x7k/shop
  kube9-query events get evt_20251202_103045_a7f3b9 --format=yaml

Exit status: 0 fine, 1 failed or not found, 2 wrong usage, 130 interrupted.";

const STATUS_EXAMPLES: &str = "\
Examples:
  kube9-query status
  kube9-query status --format=json | jq -r .status

The status is operational, degraded (something is missing or late; `reasons` says what) or unavailable (exit status 1).";

const LIST_EXAMPLES: &str = "\
Examples:
  kube9-query events list --since=30m --object-namespace=shop
  kube9-query events list --severity=error+ --object-kind=Pod --object-name='web-*'
  kube9-query events list --for=deployment/web/shop --since=2025-12-02 --until=2025-12-03
  kube9-query events list --reason=OOMKilling,Evicted --node=worker-7 --format=wide
  kube9-query events list --search='connection refused' --limit=1000 --format=jsonl";

const GET_EXAMPLES: &str = "\
Examples:
  kube9-query events get evt_20251202_103045_a7f3b9
  kube9-query events get evt_20251202_103045_a7f3b9 --format=json | jq .metadata";

const WATCH_EXAMPLES: &str = "\
Examples:
  kube9-query events watch --severity=warning+
  kube9-query events watch --object-namespace=shop --tail=0 --format=jsonl

Over kubectl exec use -i or -it: without stdin the watch cannot see that you have gone, and ends after an hour.";

const STATS_EXAMPLES: &str = "\
Examples:
  kube9-query events stats --since=24h --by=severity,reason
  kube9-query events stats --by=namespace --severity=error+ --limit=10";

const TIMELINE_EXAMPLES: &str = "\
Examples:
  kube9-query events timeline --since=2h --object-namespace=shop
  kube9-query events timeline --for=pod/web-1/shop --bucket=5m";

const EXPORT_EXAMPLES: &str = "\
Examples:
  kube9-query events export --since=7d --format=csv > events.csv
  kube9-query events export --fields=created_at,severity,title,metadata.reason";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  kube9-query completions bash > /etc/bash_completion.d/kube9-query
  kube9-query completions zsh > ~/.zfunc/_kube9-query
  kube9-query completions fish > ~/.config/fish/completions/kube9-query.fish";

/// Reads the command line of a process, its name first.
pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Request, Failure> {
    let mut words: Vec<OsString> = words.collect();
    // Clients of the tool before this one run `kube9-operator query events list …`.
    if words.get(1).is_some_and(|word| word == "query") {
        words.remove(1);
    }
    let asks_json = asks_json(&words);
    let line = CommandLine::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Failure::Help(text),
            kind => {
                let text = shortened(text.strip_prefix("error: ").unwrap_or(&text));
                Failure::Usage(match kind {
                    ErrorKind::InvalidSubcommand => with_commands(&text),
                    _ => text,
                })
                .in_json(asks_json)
            }
        }
    })?;
    let request = Request {
        command: line.command,
        options: line.options,
    };
    check(&request).map_err(|failure| failure.in_json(asks_json))?;
    Ok(request)
}

/// The text with words cut that nobody could read: a mistake of 100 KB is not repeated.
fn shortened(text: &str) -> String {
    const WORD_MAX: usize = 200;
    let cut = |word: &str| match word.char_indices().nth(WORD_MAX) {
        Some((at, _)) => format!("{}…'", &word[..at]),
        None => word.to_owned(),
    };
    let words: Vec<String> = text.split(' ').map(cut).collect();
    words.join(" ")
}

/// The names that would have been right, after the sentence that says which one was wrong.
fn with_commands(text: &str) -> String {
    let (sentence, rest) = text.split_once('\n').unwrap_or((text, ""));
    let line = CommandLine::command();
    let level = if rest.contains("kube9-query events") {
        line.find_subcommand("events").cloned().unwrap_or(line)
    } else {
        line
    };
    let names: Vec<&str> = level
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    format!("{sentence}; valid values: {}\n{rest}", names.join(", "))
}

/// Whether errors are to be JSON: decided before the line is understood, since it may not be.
fn asks_json(words: &[OsString]) -> bool {
    let is_json = |word: Option<&OsString>| word.is_some_and(|word| word == "json");
    words.iter().enumerate().any(|(i, word)| {
        word == "--format=json"
            || word == "-ojson"
            || word == "-o=json"
            || ((word == "--format" || word == "-o") && is_json(words.get(i + 1)))
    })
}

/// What clap cannot see: options that do not go together.
fn check(request: &Request) -> Result<(), Failure> {
    let (name, formats) = formats(&request.command);
    if let Some(format) = request.options.format
        && !formats.contains(&format)
    {
        let valid: Vec<&str> = formats.iter().map(|format| format.as_str()).collect();
        return Err(Failure::Usage(format!(
            "--format={} does not suit '{name}'; valid values: {}",
            format.as_str(),
            valid.join(", ")
        )));
    }
    match &request.command {
        Command::Events(EventsCommand::List(ListArgs { fields, .. }))
        | Command::Events(EventsCommand::Export(ExportArgs { fields, .. })) => {
            once("--fields", fields.iter().map(Field::name))
        }
        Command::Events(EventsCommand::Stats(StatsArgs { by, .. })) => {
            once("--by", by.iter().map(|property| property.as_str()))
        }
        _ => Ok(()),
    }
}

/// A document has no key twice.
fn once<'a>(option: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let mut seen = Vec::new();
    for name in names {
        if seen.contains(&name) {
            return Err(Failure::Usage(format!("{option} names {name} twice")));
        }
        seen.push(name);
    }
    Ok(())
}

fn formats(command: &Command) -> (&'static str, &'static [Format]) {
    use Format::{Csv, Json, Jsonl, Table, Wide, Yaml};
    match command {
        Command::Status => ("status", &[Json, Yaml, Table]),
        Command::Events(EventsCommand::List(_)) => {
            ("events list", &[Json, Yaml, Table, Wide, Jsonl, Csv])
        }
        Command::Events(EventsCommand::Get(_)) => ("events get", &[Json, Yaml, Table]),
        Command::Events(EventsCommand::Watch(_)) => ("events watch", &[Json, Jsonl, Table, Wide]),
        Command::Events(EventsCommand::Stats(_)) => ("events stats", &[Json, Yaml, Table, Csv]),
        Command::Events(EventsCommand::Timeline(_)) => ("events timeline", &[Json, Yaml, Table]),
        Command::Events(EventsCommand::Export(_)) => ("events export", &[Jsonl, Csv]),
        Command::Completions { .. } => ("completions", &[Json, Yaml, Table, Wide, Jsonl, Csv]),
        Command::Pause => ("pause", &[Json, Yaml, Table, Wide, Jsonl, Csv]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        let words = std::iter::once("kube9-query")
            .chain(line.split(' '))
            .map(OsString::from);
        parse(words).map_err(|failure| failure.words().0)
    }

    /// Writes or compares a file that is made from the command line's definition.
    #[track_caller]
    fn generated(name: &str, content: &[u8]) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("generated")
            .join(name);
        if std::env::var_os("KUBE9_GENERATE").is_some() {
            std::fs::write(&file, content).unwrap();
        }
        let found = std::fs::read(&file).unwrap_or_default();
        assert!(
            found == content,
            "generated/{name} is not up to date; run KUBE9_GENERATE=1 cargo test -p kube9-query --bin kube9-query"
        );
    }

    #[test]
    fn completions_and_manual_follow_the_command_line() {
        use clap_complete::Shell as Target;
        for (target, name) in [
            (Target::Bash, "kube9-query.bash"),
            (Target::Zsh, "_kube9-query"),
            (Target::Fish, "kube9-query.fish"),
        ] {
            let mut script = Vec::new();
            clap_complete::generate(
                target,
                &mut CommandLine::command(),
                "kube9-query",
                &mut script,
            );
            let script = String::from_utf8(script).unwrap();
            // clap_complete 4.6 sets the state to kube9__query__… and asks for kube9__subcmd__query__…, so that bash
            // offers nothing after the first word: the dash of the program's name is taken for a level.
            let script = script.replace("kube9__subcmd__query", "kube9__query");
            generated(name, script.as_bytes());
        }
        let mut command = CommandLine::command()
            .disable_help_subcommand(true)
            .mut_subcommand("events", |events| events.disable_help_subcommand(true));
        command.build();
        manual(&command, "kube9-query");
    }

    /// A page a command, as `git` has them.
    fn manual(command: &clap::Command, name: &'static str) {
        let command = command.clone().name(name);
        let examples = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let page = clap_mangen::Man::new(command.clone().after_help(None::<&str>))
            .title(name.to_uppercase())
            .date(MANUAL_DATE)
            .manual("kube9");
        let mut text = Vec::new();
        page.render(&mut text).unwrap();
        let mut text = tidy(std::str::from_utf8(&text).unwrap());
        text.push_str(&last_sections(&examples, name));
        generated(&format!("{name}.1"), text.as_bytes());
        for sub in command
            .get_subcommands()
            .filter(|sub| sub.get_name() != "help")
        {
            let name = format!("{name}-{}", sub.get_name());
            // clap takes names that live for ever; a test may give it some.
            manual(sub, Box::leak(name.into_boxed_str()));
        }
    }

    /// When the pages were last written: a page must not change with the day on which it is made.
    const MANUAL_DATE: &str = "2026-11-22";

    /// No space at the end of a line, and no line longer than 80 bytes where roff fills lines anyhow.
    fn tidy(page: &str) -> String {
        let mut out = String::new();
        for line in page.lines().map(str::trim_end) {
            let mut length = 0;
            for word in line.split(' ') {
                let fits = length + 1 + word.len() <= 78 || line.starts_with('.');
                if length > 0 && fits {
                    out.push(' ');
                } else if length > 0 {
                    out.push('\n');
                    length = 0;
                }
                length += word.len() + 1;
                // A word at the beginning of a line must not be taken for a request.
                out.push_str(word);
            }
            out.push('\n');
        }
        out
    }

    /// The examples line by line, what follows them, and where to look next.
    fn last_sections(after_help: &str, name: &str) -> String {
        let escaped = |text: &str| text.replace('\\', "\\e").replace('-', "\\-");
        let (mut out, mut is_example) = (String::new(), false);
        for line in after_help.lines() {
            if line == "Examples:" {
                out.push_str(".SH EXAMPLES\n.nf\n");
                is_example = true;
            } else if is_example && line.is_empty() {
                out.push_str(".fi\n.SH NOTES\n");
                is_example = false;
            } else if is_example {
                out.push_str(&format!("{}\n", escaped(line.trim())));
            } else {
                out.push_str(&tidy(&escaped(line)));
            }
        }
        if is_example {
            out.push_str(".fi\n");
        }
        if name != "kube9-query" {
            out.push_str(".SH SEE ALSO\n.BR kube9\\-query (1)\n");
        }
        out
    }

    #[test]
    fn command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn query_as_first_word_is_skipped() {
        for line in [
            "query events list --limit=25 --format=json",
            "events list --limit 25 --format json",
            "-o json events list -n 25",
        ] {
            let request = parsed(line).unwrap();
            assert!(
                matches!(
                    request.command,
                    Command::Events(EventsCommand::List(ListArgs { limit: 25, .. }))
                ),
                "{line}"
            );
            assert_eq!(request.options.format, Some(Format::Json), "{line}");
        }
        assert!(parsed("query query status").is_err());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_valid_values() {
        for (line, words) in [
            ("events list --limit=1001", "1 to 1000"),
            ("events list --limit=0", "1 to 1000"),
            ("events list --limit=ten", "1 to 1000"),
            ("events list --offset=-1", "0 or more"),
            (
                "events list --type=pods",
                "cluster, operator, insight, assessment, health, system",
            ),
            (
                "events list --severity=fatal",
                "info, warning, error, critical",
            ),
            (
                "events list --severity=fatal+",
                "info, warning, error, critical",
            ),
            (
                "events list --format=xml",
                "json, yaml, table, wide, jsonl, csv",
            ),
            (
                "events get evt_20251202_103045_a7f3b9 --format=csv",
                "json, yaml, table",
            ),
            ("events get nonsense", "evt_20251202_103045_a7f3b9"),
            ("events list --since=yesterday", "RFC 3339"),
            ("events list --timeout=0", "1 to 30"),
            ("events list --timeout=31", "1 to 30"),
            ("events list --for=pod", "KIND/NAME"),
            ("events list --for=pod/", "KIND/NAME"),
            ("events list --object-name=", "empty"),
            ("events list --object-name=web-[0", "unclosed '['"),
            ("events list --after=abc", "pagination.next"),
            ("events list --fields=id,size", "event_type"),
            ("events list --search=", "empty"),
            ("status --format=wide", "json, yaml, table"),
            ("events export --format=json", "jsonl, csv"),
            ("events watch --tail=1001", "0 to 1000"),
            ("events stats --by=colour", "namespace"),
            ("events timeline --bucket=5", "30m"),
            ("events list --fields=id,title,id", "names id twice"),
            (
                "events export --fields=metadata.a,metadata.a",
                "names metadata.a twice",
            ),
            ("events stats --by=kind,kind", "names kind twice"),
            ("evnts list", "status, events, completions, pause"),
            ("events lst", "list, get, watch, stats, timeline, export"),
        ] {
            match parsed(line) {
                Err(error) => assert!(error.contains(words), "{line}: {error}"),
                Ok(_) => panic!("{line} was accepted"),
            }
        }
    }
}
