//! The filters that all event commands share.

use clap::Args;
use kube9_db::read::{Filter, InvalidFilter, ObjectPattern, OwnerPattern, Pattern};
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};

use super::value::Words;
use crate::failure::Failure;
use crate::moment::{self, Moment};

/// Which events. Several values of one option are alternatives; several options must all hold.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters (lists by comma; names may be globs: web-*)")]
pub(crate) struct FilterArgs {
    /// cluster, operator, insight, assessment, health, system
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = TYPE, hide_possible_values = true)]
    types: Vec<EventType>,
    /// info, warning, error, critical; warning+ means "and above"
    #[arg(long, value_name = "SEVERITY", value_delimiter = ',', value_parser = SEVERITY, hide_possible_values = true)]
    severity: Vec<Severities>,
    /// Not over before: 2025-12-02T10:30:00Z, 2025-12-02, 30m, 24h, 7d (inclusive)
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Option<Moment>,
    /// Begun before this time (exclusive)
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<Moment>,
    /// Kind of the object, e.g. Pod
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    object_kind: Vec<Pattern>,
    /// Namespace of the object
    #[arg(long, short = 'N', value_name = "NAMESPACE", value_delimiter = ',', value_parser = pattern)]
    object_namespace: Vec<Pattern>,
    /// Name of the object
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = pattern)]
    object_name: Vec<Pattern>,
    /// One object: pod/web-1, pod/web-1/shop
    #[arg(long = "for", value_name = "KIND/NAME[/NAMESPACE]", value_delimiter = ',', value_parser = about)]
    about: Vec<ObjectPattern>,
    /// Reason as the Event has it, e.g. BackOff
    #[arg(long, value_name = "REASON", value_delimiter = ',', value_parser = pattern)]
    reason: Vec<Pattern>,
    /// Controller of the object: web, deployment/web
    #[arg(long, value_name = "[KIND/]NAME", value_delimiter = ',', value_parser = owner)]
    owner: Vec<OwnerPattern>,
    /// Node it happened on
    #[arg(long, value_name = "NODE", value_delimiter = ',', value_parser = pattern)]
    node: Vec<Pattern>,
    /// Container within the pod
    #[arg(long, value_name = "CONTAINER", value_delimiter = ',', value_parser = pattern)]
    container: Vec<Pattern>,
    /// Text in title, description, object name or reason, whatever its case
    #[arg(long, value_name = "TEXT", value_parser = search)]
    search: Option<String>,
}

impl FilterArgs {
    /// The filter, at this moment.
    pub(crate) fn resolve(&self, now: Timestamp) -> Result<Filter, Failure> {
        let filter = Filter {
            types: self.types.clone(),
            severities: self
                .severity
                .iter()
                .flat_map(|set| set.0.iter().copied())
                .collect(),
            since: self.since.map(|moment| moment.resolve(now)),
            until: self.until.map(|moment| moment.resolve(now)),
            kinds: self.object_kind.clone(),
            namespaces: self.object_namespace.clone(),
            names: self.object_name.clone(),
            objects: self.about.clone(),
            reasons: self.reason.clone(),
            owners: self.owner.clone(),
            nodes: self.node.clone(),
            containers: self.container.clone(),
            search: self.search.clone(),
        };
        filter.check().map_err(|error| match error {
            InvalidFilter::EmptyRange { since, until } => Failure::Usage(format!(
                "--since ({since}) must be before --until ({until})"
            )),
            other => Failure::Usage(other.to_string()),
        })?;
        Ok(filter)
    }
}

const TYPE: Words<EventType> = Words::new(
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
const SEVERITY: Words<Severities> = Words::new(
    severities,
    &["info", "warning", "error", "critical", "warning+", "error+"],
);

fn event_type(text: &str) -> Result<EventType, String> {
    text.parse::<EventType>()
        .map_err(|error| format!("valid values: {}", error.valid))
}

/// What one word of `--severity` stands for.
#[derive(Debug, Clone)]
struct Severities(Vec<Severity>);

fn severities(text: &str) -> Result<Severities, String> {
    let (word, and_above) = match text.strip_suffix('+') {
        Some(word) => (word, true),
        None => (text, false),
    };
    let least = word.parse::<Severity>().map_err(|error| {
        format!(
            "valid values: {}, each also with + for \"and above\"",
            error.valid
        )
    })?;
    let set = Severity::ALL.iter().copied();
    Ok(Severities(if and_above {
        set.filter(|&s| s >= least).collect()
    } else {
        vec![least]
    }))
}

/// No name of an object is longer than 253 characters, and no text that is stored than 4 KiB; what is longer matches
/// nothing, and would only keep the search busy.
const TEXT_MAX: usize = 1024;

fn bounded(text: &str) -> Result<(), String> {
    if text.len() > TEXT_MAX {
        Err(format!("it is longer than {TEXT_MAX} bytes"))
    } else {
        Ok(())
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    bounded(text)?;
    Pattern::parse(text).map_err(|error| error.to_string())
}

/// Short names and plurals as `kubectl` takes them; whatever is not one of these stands as it is.
const KINDS: [(&str, &[&str]); 22] = [
    ("Pod", &["po", "pods"]),
    ("Node", &["no", "nodes"]),
    ("Service", &["svc", "services"]),
    ("Deployment", &["deploy", "deployments"]),
    ("ReplicaSet", &["rs", "replicasets"]),
    ("StatefulSet", &["sts", "statefulsets"]),
    ("DaemonSet", &["ds", "daemonsets"]),
    ("Job", &["jobs"]),
    ("CronJob", &["cj", "cronjobs"]),
    ("ConfigMap", &["cm", "configmaps"]),
    ("Secret", &["secrets"]),
    ("Namespace", &["ns", "namespaces"]),
    ("PersistentVolumeClaim", &["pvc", "persistentvolumeclaims"]),
    ("PersistentVolume", &["pv", "persistentvolumes"]),
    ("StorageClass", &["sc", "storageclasses"]),
    (
        "HorizontalPodAutoscaler",
        &["hpa", "horizontalpodautoscalers"],
    ),
    ("PodDisruptionBudget", &["pdb", "poddisruptionbudgets"]),
    ("Ingress", &["ing", "ingresses"]),
    ("NetworkPolicy", &["netpol", "networkpolicies"]),
    ("ServiceAccount", &["sa", "serviceaccounts"]),
    ("ReplicationController", &["rc", "replicationcontrollers"]),
    ("EndpointSlice", &["endpointslices"]),
];

fn kind(text: &str) -> Result<Pattern, String> {
    let lower = text.to_ascii_lowercase();
    let known = KINDS
        .iter()
        .find(|(_, short)| short.contains(&lower.as_str()));
    pattern(known.map_or(text, |(kind, _)| kind))
}

fn about(text: &str) -> Result<ObjectPattern, String> {
    let bad =
        || "write KIND/NAME or KIND/NAME/NAMESPACE, e.g. pod/web-1 or pod/web-1/shop".to_owned();
    let parts: Vec<&str> = text.split('/').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(bad());
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
        _ => Err(bad()),
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
        Some(_) => Err("write NAME or KIND/NAME, e.g. deployment/web".to_owned()),
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
