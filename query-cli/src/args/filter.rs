//! Filter options of all event commands.

use std::time::Duration;

use clap::Args;
use kube9_db::read::{Filter, InvalidFilter, KindPattern, ObjectPattern, OwnerPattern, Pattern};
use kube9_model::change::kinds::{BUILT_IN, stored_group};
use kube9_model::{EventType, Severity};

use super::value::EnumValueParser;
use crate::error::CliError;
use crate::target::OTHER_KINDS;
use crate::time_arg::{self, Now, TimeArg};

/// Options that select events.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters (comma-separated lists; names can be globs: web-*)")]
pub(crate) struct FilterArgs {
    /// Type: cluster, operator, insight, assessment, health, system
    ///
    /// cluster: Kubernetes Events and changes of objects
    /// health, insight, assessment: findings of rules
    /// operator: starts, stops and problems of kube9
    /// system: gaps, retention and storage
    ///
    /// Example: --type=health,insight
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = TYPE, hide_possible_values = true,
          verbatim_doc_comment)]
    types: Vec<EventType>,
    /// Severity: info, warning, error, critical; warning+ for warning and above
    ///
    /// Example: --severity=error+
    #[arg(long, value_name = "SEVERITY", value_delimiter = ',', value_parser = SEVERITY, hide_possible_values = true)]
    severity: Vec<Severities>,
    /// Show events that were still occurring at or after TIME
    ///
    /// TIME is an RFC 3339 time, a date, a time of day, or an age; UTC without an offset or --tz.
    ///
    /// Example: --since=30m, --since=2025-12-02, --since=2025-12-02T10:30:00Z
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    since: Option<TimeArg>,
    /// Show events that started before TIME
    ///
    /// TIME is an RFC 3339 time, a date, a time of day, or an age; UTC without an offset or --tz.
    ///
    /// Example: --until=2025-12-02T11:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    until: Option<TimeArg>,
    /// Kind of the object, or a short name as in kubectl
    ///
    /// Example: --object-kind=pod,deploy,rollouts.argoproj.io
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    object_kind: Vec<KindPattern>,
    /// Namespace of the object
    ///
    /// Example: -N shop, --object-namespace='team-*'
    #[arg(long, short = 'N', value_name = "NAMESPACE", value_delimiter = ',', value_parser = pattern)]
    object_namespace: Vec<Pattern>,
    /// Name of the object
    ///
    /// Example: --object-name='checkout-*'
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = pattern)]
    object_name: Vec<Pattern>,
    /// The object as KIND/NAME or KIND/NAME/NAMESPACE
    ///
    /// Example: --for=pod/web-1/shop
    #[arg(long = "for", value_name = "KIND/NAME[/NAMESPACE]", value_delimiter = ',', value_parser = object)]
    objects: Vec<ObjectPattern>,
    /// Reason of the Event, change or finding; case-insensitive
    ///
    /// Example: --reason=BackOff,OOMKilling
    #[arg(long, value_name = "REASON", value_delimiter = ',', value_parser = pattern)]
    reason: Vec<Pattern>,
    /// Controller of the object as NAME or KIND/NAME
    ///
    /// Example: --owner=deployment/web
    #[arg(long, value_name = "[KIND/]NAME", value_delimiter = ',', value_parser = owner)]
    owner: Vec<OwnerPattern>,
    /// Node on which the event occurred
    ///
    /// Example: --node=worker-7
    #[arg(long, value_name = "NODE", value_delimiter = ',', value_parser = pattern)]
    node: Vec<Pattern>,
    /// Container of the pod
    ///
    /// Example: --container=app
    #[arg(long, value_name = "CONTAINER", value_delimiter = ',', value_parser = pattern)]
    container: Vec<Pattern>,
    /// Text in title, description, object name or reason; case-insensitive
    ///
    /// Example: --search='connection refused'
    #[arg(long, value_name = "TEXT", value_parser = search)]
    search: Option<String>,
}

impl FilterArgs {
    /// The filter, with ages relative to `now`.
    pub(crate) fn resolve(&self, now: &Now) -> Result<Filter, CliError> {
        self.with_since(self.since, now)
    }

    /// The filter with a `since` for a command line that has none.
    pub(crate) fn resolve_since(&self, now: &Now, default: Duration) -> Result<Filter, CliError> {
        let until = self.until.map_or(now.time, |moment| moment.resolve(now));
        let since = self.since.unwrap_or(TimeArg::At(until.minus(default)));
        self.with_since(Some(since), now)
    }

    fn with_since(&self, since: Option<TimeArg>, now: &Now) -> Result<Filter, CliError> {
        let filter = Filter {
            types: self.types.clone(),
            severities: self
                .severity
                .iter()
                .flat_map(|set| set.0.iter().copied())
                .collect(),
            since: since.map(|moment| moment.resolve(now)),
            until: self.until.map(|moment| moment.resolve(now)),
            kinds: self.object_kind.clone(),
            namespaces: self.object_namespace.clone(),
            names: self.object_name.clone(),
            objects: self.objects.clone(),
            reasons: self.reason.clone(),
            owners: self.owner.clone(),
            nodes: self.node.clone(),
            containers: self.container.clone(),
            search: self.search.clone(),
            ..Filter::default()
        };
        filter.check().map_err(|error| match error {
            InvalidFilter::EmptyRange { since, until } => CliError::Usage(format!(
                "--since ({}) must be before --until ({})",
                now.zone.rfc3339(since),
                now.zone.rfc3339(until)
            )),
            other => CliError::Usage(other.to_string()),
        })?;
        Ok(filter)
    }
}

const TYPE: EnumValueParser<EventType> = EnumValueParser::new(
    event_type,
    &[
        "cluster",
        "operator",
        "insight",
        "assessment",
        "health",
        "system",
    ],
);
const SEVERITY: EnumValueParser<Severities> = EnumValueParser::new(
    severities,
    &["info", "warning", "error", "critical", "warning+", "error+"],
);

fn event_type(text: &str) -> Result<EventType, String> {
    text.parse::<EventType>()
        .map_err(|error| format!("valid values: {}", error.valid))
}

/// The severities of one value of `--severity`.
#[derive(Debug, Clone)]
struct Severities(Vec<Severity>);

fn severities(text: &str) -> Result<Severities, String> {
    let (word, and_above) = match text.strip_suffix('+') {
        Some(word) => (word, true),
        None => (text, false),
    };
    let lowest = word.parse::<Severity>().map_err(|error| {
        format!(
            "valid values: {}, each also with + for \"and above\"",
            error.valid
        )
    })?;
    let set = Severity::ALL.iter().copied();
    Ok(Severities(if and_above {
        set.filter(|&s| s >= lowest).collect()
    } else {
        vec![lowest]
    }))
}

/// Names have at most 253 characters and stored texts 4 KiB: a longer value matches nothing and would only take time.
const TEXT_MAX: usize = 1024;

pub(super) fn bounded(text: &str) -> Result<(), String> {
    if text.len() > TEXT_MAX {
        Err(format!("longer than {TEXT_MAX} bytes"))
    } else {
        Ok(())
    }
}

pub(super) fn pattern(text: &str) -> Result<Pattern, String> {
    bounded(text)?;
    Pattern::parse(text).map_err(|error| error.to_string())
}

/// A kind by any name that `kubectl` takes: `deploy`, `deployments.apps`, `rollouts.argoproj.io`; or a glob.
fn kind(text: &str) -> Result<KindPattern, String> {
    bounded(text)?;
    let (name, group) = match text.split_once('.') {
        Some((name, group)) => (name, Some(without_version(group))),
        None => (text, None),
    };
    let group = group.map(stored_group);
    let tracked = BUILT_IN.iter().find(|kind| kind.is_named(text));
    let known = match tracked {
        Some(kind) => Some(&*kind.kind),
        None if group.is_none_or(str::is_empty) => OTHER_KINDS
            .iter()
            .find(|(_, names, _)| names.iter().any(|one| one.eq_ignore_ascii_case(name)))
            .map(|(kind, ..)| *kind),
        None => None,
    };
    let names = match known {
        Some(kind) => vec![pattern(kind)?],
        None => singulars(name)
            .map(|name| pattern(&name))
            .collect::<Result<_, _>>()?,
    };
    Ok(KindPattern {
        names,
        group: group.map(str::to_owned),
    })
}

/// `argoproj.io` of `v1alpha1.argoproj.io`.
fn without_version(group: &str) -> &str {
    let is_version = |text: &str| {
        let number = text.strip_prefix('v').unwrap_or_default();
        number.starts_with(|first: char| first.is_ascii_digit())
    };
    match group.split_once('.') {
        Some((version, group)) if is_version(version) => group,
        _ => group,
    }
}

/// The word itself, and what it may be the plural of: the kinds that are not tracked are not known.
fn singulars(word: &str) -> impl Iterator<Item = String> {
    let lower = word.to_ascii_lowercase();
    let without = |end: &str, instead: &str| {
        let start = lower.strip_suffix(end).filter(|start| !start.is_empty())?;
        Some(format!("{start}{instead}"))
    };
    let plurals = [without("s", ""), without("es", ""), without("ies", "y")];
    std::iter::once(word.to_owned()).chain(plurals.into_iter().flatten())
}

fn object(text: &str) -> Result<ObjectPattern, String> {
    let usage =
        || "use KIND/NAME or KIND/NAME/NAMESPACE, e.g. pod/web-1 or pod/web-1/shop".to_owned();
    let parts: Vec<&str> = text.split('/').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(usage());
    }
    match parts[..] {
        [of_kind, name] => Ok(ObjectPattern {
            kind: kind(of_kind)?,
            name: pattern(name)?,
            namespace: None,
        }),
        [of_kind, name, namespace] => Ok(ObjectPattern {
            kind: kind(of_kind)?,
            name: pattern(name)?,
            namespace: Some(pattern(namespace)?),
        }),
        _ => Err(usage()),
    }
}

fn owner(text: &str) -> Result<OwnerPattern, String> {
    match text.split_once('/') {
        None => Ok(OwnerPattern {
            kind: None,
            name: pattern(text)?,
        }),
        Some((of_kind, name)) if !of_kind.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(OwnerPattern {
                kind: Some(kind(of_kind)?),
                name: pattern(name)?,
            })
        }
        Some(_) => Err("use NAME or KIND/NAME, e.g. deployment/web".to_owned()),
    }
}

fn search(text: &str) -> Result<String, String> {
    bounded(text)?;
    if text.is_empty() {
        Err("the text is empty".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(text: &str) -> (Vec<String>, Option<String>) {
        let found = kind(text).unwrap();
        let names = found.names.into_iter().map(|name| match name {
            Pattern::Exact(name) | Pattern::Glob(name) => name,
        });
        (names.collect(), found.group)
    }

    #[test]
    fn kind_is_named_as_in_kubectl() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let group = |group: &str| Some(group.to_owned());
        for (text, expected) in [
            ("po", (names(&["Pod"]), None)),
            ("deployments.apps", (names(&["Deployment"]), group(""))),
            ("deploy.v1.apps", (names(&["Deployment"]), group(""))),
            ("rs", (names(&["ReplicaSet"]), None)),
            ("RS.apps", (names(&["ReplicaSet"]), group(""))),
            ("secrets", (names(&["secrets", "secret"]), None)),
            ("Rollout", (names(&["Rollout"]), None)),
            (
                "rollouts.argoproj.io",
                (names(&["rollouts", "rollout"]), group("argoproj.io")),
            ),
            (
                "rollouts.v1alpha1.argoproj.io",
                (names(&["rollouts", "rollout"]), group("argoproj.io")),
            ),
            (
                "services.serving.knative.dev",
                (
                    names(&["services", "service", "servic"]),
                    group("serving.knative.dev"),
                ),
            ),
            (
                "policies.example.com",
                (
                    names(&["policies", "policie", "polici", "policy"]),
                    group("example.com"),
                ),
            ),
            ("*.argoproj.io", (names(&["*"]), group("argoproj.io"))),
            ("s", (names(&["s"]), None)),
        ] {
            assert_eq!(kind_of(text), expected, "{text}");
        }
    }
}
