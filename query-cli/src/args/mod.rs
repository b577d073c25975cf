//! Parses the command line into a [`Request`]; does no I/O.
//!
//! The doc comments of commands and options are their help: the first paragraph is what `-h` shows, all of it `--help`.

mod deferred;
mod filter;
mod object;
mod value;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use kube9_db::read::{Cursor, Filter, GroupBy, PageRequest};

pub(crate) use deferred::Deferred;
pub(crate) use filter::FilterArgs;
pub(crate) use object::{
    ChangesArgs, FindingsArgs, FindingsBy, ImpactArgs, ObjectArg, ObjectBlameArgs, ObjectCommand,
    ObjectDiffArgs, ObjectGetArgs, ObjectHistoryArgs, StoryArgs, TargetArgs,
};
pub(crate) use value::{Field, Format, Shell};

use crate::env;
use crate::error::CliError;
use crate::zone::Zone;

/// Path in the query container, where the recorder's volume is mounted.
const DATABASE: &str = "/data/kube9.db";
/// Path of a recorder outside a cluster.
const DATABASE_LOCAL: &str = "./kube9-data/kube9.db";

/// A parsed command line.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) options: Options,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Database file [env: KUBE9_DB] [default: /data/kube9.db]
    ///
    /// The first of these is used: --db, KUBE9_DB, kube9.db in the directory DB_PATH,
    /// /data/kube9.db, ./kube9-data/kube9.db.
    ///
    /// Example: --db ./kube9-data/kube9.db
    #[arg(long, global = true, value_name = "FILE", verbatim_doc_comment)]
    db: Option<PathBuf>,
    /// Output format: json, yaml, table, wide, jsonl, csv [default: table on a terminal, else json]
    ///
    /// Every command supports json, yaml and table; commands that print rows also support wide,
    /// jsonl and csv. `events export` supports only jsonl (the default) and csv.
    ///
    /// Example: --format=json
    #[arg(long, short = 'o', global = true, value_name = "FORMAT", value_parser = value::FORMAT, hide_possible_values = true,
          verbatim_doc_comment)]
    pub(crate) format: Option<Format>,
    /// Time limit of a query in seconds, 1 to 30
    ///
    /// Covers reading the file and formatting the output. `events watch` and `events export`
    /// apply it to each step.
    ///
    /// Example: --timeout=5
    #[arg(long, global = true, value_name = "SECONDS", default_value = "30", value_parser = value::timeout,
          verbatim_doc_comment)]
    pub(crate) timeout: Duration,
    /// Time zone of printed and given times: UTC, local, a name, or an offset such as +02:00 [default: UTC]
    ///
    /// Applies to tables, and to times on the command line that have no offset. Times in JSON, YAML and
    /// CSV are always UTC.
    ///
    /// Example: --tz=+02:00, --tz=Europe/Berlin
    #[arg(long, global = true, value_name = "ZONE", default_value = "UTC", hide_default_value = true,
          value_parser = Zone::parse, verbatim_doc_comment)]
    pub(crate) tz: Zone,
}

impl PageArgs {
    /// The page of a filter.
    pub(crate) const fn request(&self, filter: Filter) -> PageRequest {
        PageRequest {
            filter,
            limit: self.limit,
            offset: self.offset,
            after: self.after,
        }
    }
}

impl Options {
    /// Path of the database.
    pub(crate) fn database(&self) -> PathBuf {
        let from_env = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        if let Some(file) = self.db.clone().or_else(|| from_env(env::DATABASE)) {
            return file;
        }
        if let Some(directory) = from_env(env::DATABASE_DIR) {
            return if directory.is_file() {
                directory
            } else {
                directory.join("kube9.db")
            };
        }
        let (default, local) = (Path::new(DATABASE), Path::new(DATABASE_LOCAL));
        if !default.exists() && local.exists() {
            local.to_owned()
        } else {
            default.to_owned()
        }
    }
}

/// Query the record of a Kubernetes cluster
///
/// kube9-query reads the database that kube9-recorder writes: Kubernetes Events, changes of objects,
/// findings of rules, and gaps in the record. It is read-only and does not connect to the cluster.
#[derive(Debug, Parser)]
#[command(name = "kube9-query", version, after_help = EXAMPLES, verbatim_doc_comment)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show whether the record is complete and current
    ///
    /// Shows the state of the recorder, gaps, dropped events, how far back the record goes, and the size
    /// of the database. The status is operational, degraded (the reasons are listed) or unavailable
    /// (exit code 1).
    #[command(after_help = STATUS_EXAMPLES, verbatim_doc_comment)]
    Status,
    /// List changes of objects, newest first
    ///
    /// Shows what changed and who changed it, of the last 24 hours unless --since says otherwise.
    #[command(after_help = object::CHANGES_EXAMPLES)]
    Changes(Deferred<ChangesArgs>),
    /// Show, compare and explain recorded states of objects
    #[command(subcommand, after_help = object::EXAMPLES)]
    Object(ObjectCommand),
    /// List findings of the rules, open and closed, newest first
    ///
    /// Shows what was wrong, since when, and how long it lasted, of the last 24 hours unless --since says
    /// otherwise.
    #[command(after_help = object::FINDINGS_EXAMPLES, verbatim_doc_comment)]
    Findings(Deferred<FindingsArgs>),
    /// Tell what happened to a workload: failures, what preceded them, what they hit, suspects
    ///
    /// Shows the last failure with an hour before and after it; without a failure, the last 24 hours. The
    /// lines are about the object, its pods, Services, scalers and nodes, what its template refers to, and
    /// what limits its namespace or the cluster. Suspects are changes before the failure, with the reasons
    /// for each; kube9 does not know which of them caused it.
    #[command(after_help = object::STORY_EXAMPLES, verbatim_doc_comment)]
    Story(Deferred<StoryArgs>),
    /// Show what depends on an object: pods, workloads, Services, Ingresses
    ///
    /// Of a Node, a Namespace or a workload: the workloads whose pods would stop, and the Services that
    /// would have no pod left. Of a ConfigMap, a claim or a ServiceAccount: the workloads whose
    /// template refers to it. With --at, as it was at that time.
    #[command(after_help = object::IMPACT_EXAMPLES, verbatim_doc_comment)]
    Impact(Deferred<ImpactArgs>),
    /// List, show, follow, count, chart and export events
    #[command(subcommand, after_help = EXAMPLES)]
    Events(EventsCommand),
    /// Print a shell completion script
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Shell: bash, zsh or fish
        #[arg(value_name = "SHELL", value_parser = value::SHELL, hide_possible_values = true)]
        shell: Shell,
    },
    /// Wait for a signal (the main process of the query container)
    ///
    /// Reaps orphaned processes, and exits on SIGTERM or SIGINT.
    Pause,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// List events, newest first
    ///
    /// Prints one page and the total number of matching events. An event covers the time from its first
    /// to its last occurrence, so --since also finds events that started earlier and still occurred.
    #[command(after_help = LIST_EXAMPLES, verbatim_doc_comment)]
    List(Deferred<ListArgs>),
    /// Show one event
    #[command(after_help = GET_EXAMPLES)]
    Get(Deferred<GetArgs>),
    /// Follow new and updated events
    ///
    /// Prints events within a second of their commit. Continues when the recorder restarts, or when the
    /// file is replaced.
    #[command(after_help = WATCH_EXAMPLES, verbatim_doc_comment)]
    Watch(Deferred<WatchArgs>),
    /// Count events by group
    #[command(after_help = STATS_EXAMPLES)]
    Stats(Deferred<StatsArgs>),
    /// Chart events over time, with changes and gaps
    ///
    /// Shows when an incident began, which objects changed in the hour before, and where the record has
    /// gaps.
    #[command(after_help = TIMELINE_EXAMPLES, verbatim_doc_comment)]
    Timeline(Deferred<TimelineArgs>),
    /// Export all matching events as JSON lines or CSV
    ///
    /// Streams the events in constant memory, newest first.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(Deferred<ExportArgs>),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    /// Columns to print, comma-separated
    ///
    /// Columns: id, event_type, severity, title, description, object_kind, object_namespace,
    /// object_name, metadata, metadata.KEY, created_at.
    ///
    /// Example: --fields=created_at,object_name,metadata.reason
    #[arg(help_heading = None::<&str>, long, value_name = "FIELDS", value_delimiter = ',', value_parser = value::field,
          verbatim_doc_comment)]
    pub(crate) fields: Vec<Field>,
}

/// Which page of a list.
#[derive(Debug, Args)]
pub(crate) struct PageArgs {
    /// Number of rows, 1 to 1000
    ///
    /// Example: --limit=200
    #[arg(help_heading = None::<&str>, long, short = 'n', value_name = "N", default_value = "50", value_parser = value::limit)]
    pub(crate) limit: usize,
    /// Skip the newest N rows
    ///
    /// To page through results prefer --after, which new rows do not shift.
    ///
    /// Example: --offset=100
    #[arg(help_heading = None::<&str>, long, value_name = "N", default_value = "0", value_parser = value::offset, conflicts_with = "after")]
    pub(crate) offset: u64,
    /// Continue after the previous page
    ///
    /// The cursor is pagination.next of the previous page; the table prints it on stderr.
    ///
    /// Example: --after=k00692eb9cc00000015
    #[arg(help_heading = None::<&str>, long, value_name = "CURSOR", value_parser = value::cursor)]
    pub(crate) after: Option<Cursor>,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// Id of the event, e.g. evt_20251202_103045_a7f3b9
    #[arg(value_name = "ID", value_parser = value::id)]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Print the newest N events first, 0 to 1000
    ///
    /// Example: --tail=0
    #[arg(help_heading = None::<&str>, long, value_name = "N", default_value = "10", value_parser = value::tail)]
    pub(crate) tail: usize,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Columns to group by, comma-separated
    ///
    /// Columns: type, severity, namespace, kind, name, reason, node, owner, container, day, hour.
    ///
    /// Example: --by=namespace,reason
    #[arg(help_heading = None::<&str>, long, value_name = "COLUMNS", default_value = "severity,type", value_delimiter = ',',
          value_parser = value::GROUP_BY, hide_possible_values = true)]
    pub(crate) by: Vec<GroupBy>,
    /// Number of groups, 1 to 1000
    ///
    /// Example: --limit=10
    #[arg(help_heading = None::<&str>, long, short = 'n', value_name = "N", default_value = "50", value_parser = value::limit)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct TimelineArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Duration of one bucket, e.g. 5m [default: fits the width]
    ///
    /// Example: --bucket=15m
    #[arg(help_heading = None::<&str>, long, value_name = "DURATION", value_parser = crate::time_arg::parse_duration)]
    pub(crate) bucket: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Columns to print, comma-separated
    ///
    /// Columns: id, event_type, severity, title, description, object_kind, object_namespace,
    /// object_name, metadata, metadata.KEY, created_at.
    ///
    /// Example: --fields=created_at,object_name,metadata.reason
    #[arg(help_heading = None::<&str>, long, value_name = "FIELDS", value_delimiter = ',', value_parser = value::field,
          verbatim_doc_comment)]
    pub(crate) fields: Vec<Field>,
}

const EXAMPLES: &str = "\
Examples:
  kube9-query status
  kube9-query events list --since=1h --severity=warning+
  kube9-query events list --for=pod/web-5d9c7b-x2x7k/shop
  kube9-query events get evt_20251202_103045_a7f3b9 --format=yaml

Exit codes: 0 success, 1 failed or not found, 2 invalid usage, 130 interrupted.";

const STATUS_EXAMPLES: &str = "\
Examples:
  kube9-query status
  kube9-query status --format=json | jq -r .status";

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

With kubectl exec use -i or -it: without stdin the process cannot detect that the client has
disconnected. It exits after one hour in any case.";

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

/// The definition of the command line.
pub(crate) fn command() -> clap::Command {
    CommandLine::command()
}

/// Parses a command line, whose first word is the program's name.
pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Request, CliError> {
    let mut words: Vec<OsString> = words.collect();
    // Clients of the original operator run `kube9-operator query events list …`.
    if words.get(1).is_some_and(|word| word == "query") {
        words.remove(1);
    }
    let is_json = wants_json(&words);
    let line = CommandLine::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => CliError::Help(text),
            kind => {
                let text = truncate_words(text.strip_prefix("error: ").unwrap_or(&text));
                CliError::Usage(match kind {
                    ErrorKind::InvalidSubcommand => with_valid_commands(&text),
                    _ => text,
                })
                .with_json(is_json)
            }
        }
    })?;
    let request = Request {
        command: line.command,
        options: line.options,
    };
    check(&request).map_err(|error| error.with_json(is_json))?;
    Ok(request)
}

/// Truncates long words: an error does not repeat an argument of 100 KB.
fn truncate_words(text: &str) -> String {
    const WORD_MAX: usize = 200;
    let cut = |word: &str| match word.char_indices().nth(WORD_MAX) {
        Some((at, _)) => format!("{}…'", &word[..at]),
        None => word.to_owned(),
    };
    let words: Vec<String> = text.split(' ').map(cut).collect();
    words.join(" ")
}

/// Adds the valid commands to the error of an unknown one.
fn with_valid_commands(text: &str) -> String {
    let (sentence, rest) = text.split_once('\n').unwrap_or((text, ""));
    let line = CommandLine::command();
    let group = ["events", "object"]
        .into_iter()
        .find(|name| rest.contains(&format!("kube9-query {name}")));
    let level = group
        .and_then(|name| line.find_subcommand(name).cloned())
        .unwrap_or(line);
    let names: Vec<&str> = level
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    format!("{sentence}; valid values: {}\n{rest}", names.join(", "))
}

/// Whether errors are printed as JSON. Decided before parsing, which may fail.
fn wants_json(words: &[OsString]) -> bool {
    let is_json = |word: Option<&OsString>| word.is_some_and(|word| word == "json");
    words.iter().enumerate().any(|(i, word)| {
        word == "--format=json"
            || word == "-ojson"
            || word == "-o=json"
            || ((word == "--format" || word == "-o") && is_json(words.get(i + 1)))
    })
}

/// Checks combinations of options that clap cannot.
fn check(request: &Request) -> Result<(), CliError> {
    let (name, formats) = supported_formats(&request.command);
    if let Some(format) = request.options.format
        && !formats.contains(&format)
    {
        let valid: Vec<&str> = formats.iter().map(|format| format.as_str()).collect();
        return Err(CliError::Usage(format!(
            "--format={} is not supported by '{name}'; valid values: {}",
            format.as_str(),
            valid.join(", ")
        )));
    }
    match &request.command {
        Command::Events(EventsCommand::List(args)) => {
            check_unique("--fields", args.fields.iter().map(Field::name))
        }
        Command::Events(EventsCommand::Export(args)) => {
            check_unique("--fields", args.fields.iter().map(Field::name))
        }
        Command::Events(EventsCommand::Stats(args)) => {
            check_unique("--by", args.by.iter().map(|column| column.as_str()))
        }
        _ => Ok(()),
    }
}

/// A JSON object must not have a key twice.
fn check_unique<'a>(option: &str, names: impl Iterator<Item = &'a str>) -> Result<(), CliError> {
    let mut seen = Vec::new();
    for name in names {
        if seen.contains(&name) {
            return Err(CliError::Usage(format!("{option} contains {name} twice")));
        }
        seen.push(name);
    }
    Ok(())
}

fn supported_formats(command: &Command) -> (&'static str, &'static [Format]) {
    use Format::{Csv, Json, Jsonl, KubectlPatch, Md, Table, Wide, Yaml};
    match command {
        Command::Status => ("status", &[Json, Yaml, Table]),
        Command::Changes(_) => ("changes", &[Json, Yaml, Table, Wide, Jsonl, Csv]),
        Command::Findings(_) => ("findings", &[Json, Yaml, Table, Wide, Jsonl, Csv]),
        Command::Story(_) => ("story", &[Json, Yaml, Table, Md]),
        Command::Impact(_) => ("impact", &[Json, Yaml, Table]),
        Command::Object(ObjectCommand::Get(_)) => ("object get", &[Yaml, Json]),
        Command::Object(ObjectCommand::History(_)) => {
            ("object history", &[Json, Yaml, Table, Wide])
        }
        Command::Object(ObjectCommand::Diff(_)) => {
            ("object diff", &[Json, Yaml, Table, KubectlPatch])
        }
        Command::Object(ObjectCommand::Blame(_)) => ("object blame", &[Json, Yaml, Table]),
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
        parse(words).map_err(|error| error.message_and_details().0)
    }

    /// Compares a generated file; writes it if `KUBE9_UPDATE` is set.
    #[track_caller]
    fn generated(name: &str, content: &[u8]) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("generated")
            .join(name);
        if std::env::var_os("KUBE9_UPDATE").is_some() {
            std::fs::write(&file, content).unwrap();
        }
        let found = std::fs::read(&file).unwrap_or_default();
        assert!(
            found == content,
            "generated/{name} is out of date; run the test again with KUBE9_UPDATE=1"
        );
    }

    #[test]
    fn completions_and_manual_pages_are_up_to_date() {
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
            // clap_complete 4.6 sets the state to kube9__query__… but reads kube9__subcmd__query__…, so that bash completes
            // nothing after the first word: it takes the dash of the program's name for a subcommand.
            let script = script.replace("kube9__subcmd__query", "kube9__query");
            generated(name, script.as_bytes());
        }
        let mut command = CommandLine::command()
            .disable_help_subcommand(true)
            .mut_subcommand("events", |events| events.disable_help_subcommand(true));
        command.build();
        manual(&command, "kube9-query");
    }

    /// One page for each command, as `git` has them.
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
            // clap takes only 'static names; a test may leak some.
            manual(sub, Box::leak(name.into_boxed_str()));
        }
    }

    /// Fixed, so that a page does not change with the day on which it is generated.
    const MANUAL_DATE: &str = "2026-11-22";

    /// Removes trailing spaces, and wraps lines at 80 bytes where roff fills lines anyway.
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
                out.push_str(word);
            }
            out.push('\n');
        }
        out
    }

    /// Examples, notes and references.
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
    fn command_line_definition_is_valid() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn parse_query_as_first_word_is_skipped() {
        for line in [
            "query events list --limit=25 --format=json",
            "events list --limit 25 --format json",
            "-o json events list -n 25",
        ] {
            let request = parsed(line).unwrap();
            assert!(
                matches!(
                    request.command,
                    Command::Events(EventsCommand::List(args)) if args.page.limit == 25
                ),
                "{line}"
            );
            assert_eq!(request.options.format, Some(Format::Json), "{line}");
        }
        assert!(parsed("query query status").is_err());
    }

    #[test]
    fn parse_invalid_value_error_lists_valid_values() {
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
            ("events list --fields=id,title,id", "contains id twice"),
            (
                "events export --fields=metadata.a,metadata.a",
                "contains metadata.a twice",
            ),
            ("events stats --by=kind,kind", "contains kind twice"),
            (
                "evnts list",
                "status, changes, object, findings, story, impact, events, completions, pause",
            ),
            ("events lst", "list, get, watch, stats, timeline, export"),
        ] {
            match parsed(line) {
                Err(error) => assert!(error.contains(words), "{line}: {error}"),
                Ok(_) => panic!("{line} was accepted"),
            }
        }
    }
}
