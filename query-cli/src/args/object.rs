//! The commands about changes, objects and findings.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use kube9_db::read::{ChangeFilter, Filter, FindingStates, Pattern};
use kube9_model::change::path;

use super::PageArgs;
use super::deferred::Deferred;
use super::filter::{FilterArgs, bounded, pattern};
use super::value::{self, EnumValueParser};
use crate::answers::story::Range;
use crate::error::CliError;
use crate::time_arg::{self, Now, TimeArg};

/// What is listed without --since.
const DEFAULT_RANGE: Duration = Duration::from_secs(86_400);

#[derive(Debug, Args)]
pub(crate) struct ChangesArgs {
    /// Only changes of this object, as KIND/NAME or KIND/NAME/NAMESPACE
    #[arg(value_name = "KIND/NAME", value_parser = object)]
    pub(crate) object: Option<ObjectArg>,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    #[command(flatten)]
    pub(crate) of: ChangeFilterArgs,
    /// Follow new changes
    #[arg(help_heading = None::<&str>, long, conflicts_with_all = ["offset", "after"])]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) page: PageArgs,
}

/// Options that select changes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters of changes")]
pub(crate) struct ChangeFilterArgs {
    /// Who made the change: the manager that the object names
    ///
    /// A manager is the name under which a client writes, such as kubectl-edit or argocd-controller.
    /// It is not a user.
    ///
    /// Example: --by='kubectl-*'
    #[arg(long = "by", value_name = "MANAGER", value_delimiter = ',', value_parser = pattern, verbatim_doc_comment)]
    by: Vec<Pattern>,
    /// A changed field; * stands for one segment of the path, ** for any number
    ///
    /// Example: --path='**.image', --path='metadata.labels["app.kubernetes.io/name"]'
    #[arg(long, value_name = "PATH", value_parser = field_path)]
    path: Vec<path::Pattern>,
    /// What happened to the object: created, changed, deleting, deleted
    ///
    /// Example: --op=created,deleted
    #[arg(long, value_name = "OP", value_delimiter = ',', value_parser = OP, hide_possible_values = true)]
    op: Vec<&'static str>,
    /// Why the object was deleted
    ///
    /// Example: --cause=scale-down,'node *'
    #[arg(long, value_name = "CAUSE", value_delimiter = ',', value_parser = pattern)]
    cause: Vec<Pattern>,
    /// The new value of a field
    ///
    /// Example: --to-value=0
    #[arg(long, value_name = "VALUE", value_parser = pattern)]
    to_value: Vec<Pattern>,
    /// Only fields whose changes often break something, such as images, resources and selectors
    #[arg(long)]
    risky: bool,
}

impl ChangesArgs {
    /// The filter of events that selects these changes.
    pub(crate) fn resolve(&self, now: &Now) -> Result<Filter, CliError> {
        let mut filter = self.filter.resolve_since(now, DEFAULT_RANGE)?;
        filter.changes = Some(ChangeFilter {
            by: self.of.by.clone(),
            paths: self.of.path.clone(),
            ops: self.of.op.clone(),
            causes: self.of.cause.clone(),
            to_values: self.of.to_value.clone(),
            risky: self.of.risky,
        });
        Ok(filter)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ObjectCommand {
    /// Print an object as it was at a time
    ///
    /// Prints the recorded state as YAML, with comments that say when it was in force and what it lacks.
    /// A state that has hidden values or is not known exactly is printed as a KubeObjectRevision, which
    /// no API server accepts. If the state is not known, all states that the object may have had are printed.
    #[command(after_help = GET_EXAMPLES, verbatim_doc_comment)]
    Get(Deferred<ObjectGetArgs>),
    /// List the recorded states of an object, newest first
    ///
    /// Shows for each state what changed and who changed it.
    #[command(after_help = HISTORY_EXAMPLES)]
    History(Deferred<ObjectHistoryArgs>),
    /// Show what differs between two times, two objects, or an object and a file
    ///
    /// Without an object, compares all objects of the namespace that --object-namespace names.
    /// --format=kubectl-patch prints the commands that take the difference back; run them yourself,
    /// because kube9 never writes to the cluster.
    #[command(after_help = DIFF_EXAMPLES, verbatim_doc_comment)]
    Diff(Deferred<ObjectDiffArgs>),
    /// Print an object with the author and time of each line
    ///
    /// The revision of a line is the first of the recorded states that have had its value since.
    /// A line that is older than the record has "before" and the time at which the record of the object begins.
    #[command(after_help = BLAME_EXAMPLES)]
    Blame(Deferred<ObjectBlameArgs>),
}

#[derive(Debug, Args)]
pub(crate) struct StoryArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Begin at TIME instead of an hour before the last failure
    ///
    /// TIME is an RFC 3339 time, a date, a time of day, or an age.
    ///
    /// Example: --since=02:00, --since=6h
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    since: Option<TimeArg>,
    /// End at TIME; a failure that began later is not shown
    ///
    /// Example: --until=2025-12-02T04:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    until: Option<TimeArg>,
    /// Print all lines instead of the 30 that matter most
    #[arg(long)]
    pub(crate) all: bool,
}

impl StoryArgs {
    /// The range that the options name.
    pub(crate) fn range(&self, now: &Now) -> Result<Range, CliError> {
        let (since, until) = (
            self.since.map(|time| time.resolve(now)),
            self.until.map(|time| time.resolve(now)),
        );
        let end = until.unwrap_or(now.time);
        match since {
            Some(since) if since >= end => Err(CliError::Usage(format!(
                "--since ({}) must be before --until ({})",
                now.zone.rfc3339(since),
                now.zone.rfc3339(end)
            ))),
            _ => Ok(Range { since, until }),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ImpactArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// The time; now without it
    ///
    /// Example: --at=02:00, --at=3h
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    pub(crate) at: Option<TimeArg>,
}

/// The object of a command.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// The object as KIND/NAME or KIND/NAME/NAMESPACE
    ///
    /// KIND is a name that kubectl accepts, such as deploy; of a custom resource with its group:
    /// rollouts.argoproj.io/web.
    #[arg(value_name = "KIND/NAME", value_parser = object, verbatim_doc_comment)]
    pub(crate) object: ObjectArg,
    /// Namespace of the object; not needed if only one has it
    ///
    /// Example: -N shop
    #[arg(long = "object-namespace", short = 'N', value_name = "NAMESPACE", value_parser = name)]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ObjectGetArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// The time; now without it
    ///
    /// TIME is an RFC 3339 time, a date, a time of day, or an age.
    ///
    /// Example: --at=02:00, --at=2025-12-02T02:00:00Z, --at=3h
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    pub(crate) at: Option<TimeArg>,
}

#[derive(Debug, Args)]
pub(crate) struct ObjectHistoryArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Show states that came into force at or after TIME
    ///
    /// Example: --since=24h
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    pub(crate) since: Option<TimeArg>,
    /// Show states that came into force before TIME
    ///
    /// Example: --until=2025-12-02T11:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    pub(crate) until: Option<TimeArg>,
    /// Number of states, 1 to 1000
    ///
    /// Example: --limit=200
    #[arg(long, short = 'n', value_name = "N", default_value = "50", value_parser = value::limit)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct ObjectDiffArgs {
    /// The object as KIND/NAME or KIND/NAME/NAMESPACE, and one to compare it with
    ///
    /// Without an object, all objects of a namespace are compared.
    #[arg(value_name = "KIND/NAME", value_parser = object, num_args = 0..=2)]
    pub(crate) objects: Vec<ObjectArg>,
    /// Namespace of the objects
    ///
    /// Example: -N shop
    #[arg(long = "object-namespace", short = 'N', value_name = "NAMESPACE", value_parser = name)]
    pub(crate) namespace: Option<String>,
    /// The earlier time
    ///
    /// TIME is an RFC 3339 time, a date, a time of day, or an age. Without it: the state before the newest change.
    ///
    /// Example: --from=02:00, --from=3h
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse, conflicts_with_all = ["file", "at"])]
    pub(crate) from: Option<TimeArg>,
    /// The later time; now without it
    ///
    /// Example: --to=03:30
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse, conflicts_with_all = ["file", "at"])]
    pub(crate) to: Option<TimeArg>,
    /// The time at which two objects, or an object and a file, are compared; now without it
    ///
    /// Example: --at=02:00
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    pub(crate) at: Option<TimeArg>,
    /// A manifest (YAML or JSON) to compare with; - reads stdin
    ///
    /// Shows only fields that the manifest has.
    ///
    /// Example: --file=deploy.yaml
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ObjectBlameArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// The time; now without it
    ///
    /// Example: --at=02:00
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    pub(crate) at: Option<TimeArg>,
}

#[derive(Debug, Args)]
pub(crate) struct FindingsArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// State of the findings: open, closed
    ///
    /// Example: --state=open
    #[arg(help_heading = None::<&str>, long, value_name = "STATE", value_parser = STATE, hide_possible_values = true)]
    pub(crate) state: Option<FindingState>,
    /// Count the findings by rule, owner or namespace
    ///
    /// Shows how many there were, how many are open, how long they lasted, and how often one opened again.
    ///
    /// Example: --by=rule
    #[arg(help_heading = None::<&str>, long, value_name = "COLUMN", value_parser = FINDINGS_BY, hide_possible_values = true)]
    pub(crate) by: Option<FindingsBy>,
    /// Number of rows, 1 to 1000
    ///
    /// Example: --limit=200
    #[arg(help_heading = None::<&str>, long, short = 'n', value_name = "N", default_value = "50", value_parser = value::limit)]
    pub(crate) limit: usize,
}

impl FindingsArgs {
    /// The filter of events that selects the rows of findings.
    pub(crate) fn resolve(&self, now: &Now) -> Result<Filter, CliError> {
        let mut filter = self.filter.resolve_since(now, DEFAULT_RANGE)?;
        filter.findings = Some(match self.state {
            None => FindingStates::All,
            Some(FindingState::Open) => FindingStates::Open,
            Some(FindingState::Closed) => FindingStates::Closed,
        });
        Ok(filter)
    }
}

/// Whether a finding's problem still exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FindingState {
    Open,
    Closed,
}

/// How findings are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FindingsBy {
    Rule,
    Owner,
    Namespace,
}

impl FindingsBy {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Owner => "owner",
            Self::Namespace => "namespace",
        }
    }
}

const STATE: EnumValueParser<FindingState> = EnumValueParser::new(
    |text| match text {
        "open" => Ok(FindingState::Open),
        "closed" => Ok(FindingState::Closed),
        _ => Err("valid values: open, closed".to_owned()),
    },
    &["open", "closed"],
);

const FINDINGS_BY: EnumValueParser<FindingsBy> = EnumValueParser::new(
    |text| {
        [FindingsBy::Rule, FindingsBy::Owner, FindingsBy::Namespace]
            .into_iter()
            .find(|by| by.as_str() == text)
            .ok_or_else(|| "valid values: rule, owner, namespace".to_owned())
    },
    &["rule", "owner", "namespace"],
);

const OPS: [&str; 4] = ["created", "changed", "deleting", "deleted"];

const OP: EnumValueParser<&'static str> = EnumValueParser::new(
    |text| {
        OPS.into_iter()
            .find(|op| *op == text)
            .ok_or_else(|| format!("valid values: {}", OPS.join(", ")))
    },
    &OPS,
);

/// An object as a command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectArg {
    /// As it was written; its meaning depends on the recorded kinds.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
}

fn object(text: &str) -> Result<ObjectArg, String> {
    bounded(text)?;
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        [kind, name] if !kind.is_empty() && !name.is_empty() => Ok(ObjectArg {
            kind: kind.to_owned(),
            name: name.to_owned(),
            namespace: None,
        }),
        [kind, name, namespace]
            if !kind.is_empty() && !name.is_empty() && !namespace.is_empty() =>
        {
            Ok(ObjectArg {
                kind: kind.to_owned(),
                name: name.to_owned(),
                namespace: Some(namespace.to_owned()),
            })
        }
        _ => Err(
            "use KIND/NAME or KIND/NAME/NAMESPACE, e.g. deploy/web or deploy/web/shop".to_owned(),
        ),
    }
}

fn name(text: &str) -> Result<String, String> {
    bounded(text)?;
    if text.is_empty() {
        Err("the name is empty".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn field_path(text: &str) -> Result<path::Pattern, String> {
    bounded(text)?;
    path::Pattern::parse(text).map_err(|error| error.to_string())
}

pub(super) const EXAMPLES: &str = "\
Examples:
  kube9-query object get deploy/web --at=02:00
  kube9-query object history deploy/web
  kube9-query object diff deploy/web --from=02:00
  kube9-query object blame deploy/web";

pub(super) const CHANGES_EXAMPLES: &str = "\
Examples:
  kube9-query changes --since=2h
  kube9-query changes deploy/web --object-namespace=shop
  kube9-query changes --path='**.image' --since=7d
  kube9-query changes --by='kubectl-*' --risky
  kube9-query changes --op=deleted --cause=request --format=json";

const GET_EXAMPLES: &str = "\
Examples:
  kube9-query object get deploy/web --at=02:00
  kube9-query object get cm/settings/shop --at=2025-12-02T02:00:00Z --format=json";

const HISTORY_EXAMPLES: &str = "\
Examples:
  kube9-query object history deploy/web
  kube9-query object history deploy/web/shop --since=24h --format=json";

const DIFF_EXAMPLES: &str = "\
Examples:
  kube9-query object diff deploy/web
  kube9-query object diff deploy/web --from=02:00 --to=03:30
  kube9-query object diff --object-namespace=shop --from=1h
  kube9-query object diff deploy/web/staging deploy/web/prod
  kube9-query object diff deploy/web --file=deploy.yaml --at=02:00
  kube9-query object diff deploy/web --from=1h --format=kubectl-patch";

const BLAME_EXAMPLES: &str = "\
Examples:
  kube9-query object blame deploy/web
  kube9-query object blame deploy/web/shop --at=02:00";

pub(super) const STORY_EXAMPLES: &str = "\
Examples:
  kube9-query story deploy/web
  kube9-query story deploy/web/shop --since=02:00 --until=04:00 --all
  kube9-query story sts/postgres -N shop --format=md > postgres.md";

pub(super) const IMPACT_EXAMPLES: &str = "\
Examples:
  kube9-query impact node/worker-1
  kube9-query impact cm/settings -N shop --at=02:00
  kube9-query impact deploy/web/shop --format=json";

pub(super) const FINDINGS_EXAMPLES: &str = "\
Examples:
  kube9-query findings
  kube9-query findings --state=open --severity=error+
  kube9-query findings --since=7d --by=rule";
