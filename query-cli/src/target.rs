//! Finds the kind and the object that a command line names.

use kube9_db::read::{KindPattern, ObjectPattern, Pattern, Reader, RecordedKind, RecordedObject};
use kube9_model::change::kinds::{BUILT_IN, BadKind, TrackedKind, is_own_group, stored_group};
use kube9_model::time::Timestamp;

use crate::args::{ObjectArg, TargetArgs};
use crate::error::CliError;
use crate::text::counted;
use crate::zone::Zone;

/// An object of the record.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) kind: TrackedKind,
    pub(crate) object: RecordedObject,
}

impl Target {
    /// `Deployment/web/shop`, as a command line names it.
    pub(crate) fn title(&self) -> String {
        title(&self.kind, &self.object.namespace, &self.object.name)
    }

    /// Selects the rows about it.
    pub(crate) fn pattern(&self) -> ObjectPattern {
        let (kind, object) = (&self.kind, &self.object);
        let is_namespaced = !object.namespace.is_empty();
        ObjectPattern {
            kind: KindPattern {
                names: vec![Pattern::Exact(kind.kind.to_string())],
                group: Some(stored_group(&kind.group).to_owned()),
            },
            name: Pattern::Exact(object.name.clone()),
            namespace: is_namespaced.then(|| Pattern::Exact(object.namespace.clone())),
        }
    }
}

pub(crate) fn title(kind: &TrackedKind, namespace: &str, name: &str) -> String {
    let slash = if namespace.is_empty() { "" } else { "/" };
    let kind = with_group(&kind.kind, &kind.group);
    format!("{kind}/{name}{slash}{namespace}")
}

/// A kind as a command line names it: that of a custom resource has its group.
pub(crate) fn with_group(kind: &str, group: &str) -> String {
    if is_own_group(group) {
        kind.to_owned()
    } else {
        format!("{kind}.{group}")
    }
}

/// Kinds of Kubernetes that are not tracked by default: a word that names one is not a typing error.
pub(crate) const OTHER_KINDS: [(&str, &[&str], &str); 9] = [
    ("ReplicaSet", &["rs", "replicasets"], "apps/v1/replicasets"),
    (
        "ReplicationController",
        &["rc", "replicationcontrollers"],
        "v1/replicationcontrollers",
    ),
    ("Endpoints", &["ep", "endpoints"], "v1/endpoints"),
    (
        "EndpointSlice",
        &["endpointslices"],
        "discovery.k8s.io/v1/endpointslices",
    ),
    ("Lease", &["leases"], "coordination.k8s.io/v1/leases"),
    (
        "ControllerRevision",
        &["controllerrevisions"],
        "apps/v1/controllerrevisions",
    ),
    ("PodTemplate", &["podtemplates"], "v1/podtemplates"),
    (
        "CertificateSigningRequest",
        &["csr", "certificatesigningrequests"],
        "certificates.k8s.io/v1/certificatesigningrequests",
    ),
    (
        "VolumeAttachment",
        &["volumeattachments"],
        "storage.k8s.io/v1/volumeattachments",
    ),
];

/// The recorded kind that a word means.
pub(crate) fn kind_of<'k>(
    kinds: &'k [RecordedKind],
    word: &str,
) -> Result<&'k RecordedKind, CliError> {
    match TrackedKind::find(kinds.iter().map(|known| &known.kind), word) {
        Ok(found) => {
            let is_it = |known: &&RecordedKind| std::ptr::eq(&raw const known.kind, found);
            kinds.iter().find(is_it).ok_or_else(|| unknown(kinds, word))
        }
        Err(BadKind::Ambiguous { choices, .. }) => Err(CliError::Usage(format!(
            "kind '{word}' is in several API groups\nname one of them: {choices}"
        ))),
        Err(BadKind::Unknown(_)) => Err(unknown(kinds, word)),
    }
}

/// The error for a word that names none of the recorded kinds.
fn unknown(kinds: &[RecordedKind], word: &str) -> CliError {
    let lower = word.to_ascii_lowercase();
    let (name, group) = match lower.split_once('.') {
        Some((name, group)) => (name, group),
        None => (&*lower, ""),
    };
    if matches!(name, "secret" | "secrets") {
        return CliError::no_answer("Secrets are never recorded", "");
    }
    if let Some(kind) = BUILT_IN.iter().find(|kind| kind.is_named(word)) {
        return CliError::no_answer(
            format!("objects of kind {} are not tracked", kind.kind),
            format!(
                "to track them, add {} to changes.kinds, and see 'kube9-query status'",
                kind.resource
            ),
        );
    }
    let other = OTHER_KINDS
        .iter()
        .find(|(kind, names, _)| kind.eq_ignore_ascii_case(name) || names.contains(&name));
    if let Some((kind, _, resource)) = other {
        return CliError::no_answer(
            format!("objects of kind {kind} are not tracked"),
            format!("to track them, add {resource} to changes.resources"),
        );
    }
    if group.contains('.') {
        return CliError::no_answer(
            format!("objects of kind {word} are not tracked"),
            format!(
                "to track them, add their resource to changes.resources, such as {group}/v1/{name}"
            ),
        );
    }
    let nearest = nearest(kinds, name);
    CliError::Usage(format!(
        "unknown kind '{word}'\n{}",
        if nearest.is_empty() {
            "kinds are named as in kubectl: deploy, deployments, Deployment; of a custom resource with its group: \
             rollouts.argoproj.io"
                .to_owned()
        } else {
            format!("did you mean {}?", nearest.join(", "))
        }
    ))
}

/// The recorded and built-in kinds whose names are most like a word.
fn nearest(kinds: &[RecordedKind], word: &str) -> Vec<String> {
    let known = kinds.iter().map(|known| &known.kind).chain(BUILT_IN.iter());
    let mut found: Vec<(usize, String)> = known
        .filter_map(|kind| {
            let names = [&*kind.resource, &*kind.kind];
            let names = names.into_iter().chain(kind.short_names.iter().copied());
            let near = names
                .map(|name| distance(word, &name.to_ascii_lowercase()))
                .min()?;
            let name = kind.kind.to_ascii_lowercase();
            (near <= 1 + word.len() / 4).then_some((near, name))
        })
        .collect();
    found.sort();
    found.dedup_by(|a, b| a.1 == b.1);
    found.into_iter().map(|(_, name)| name).take(3).collect()
}

/// How many characters must be inserted, deleted or replaced.
fn distance(from: &str, to: &str) -> usize {
    // A kind is shorter, and the time grows with the square of the length.
    const LENGTH_MAX: usize = 64;
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    if from.len() > LENGTH_MAX || to.len() > LENGTH_MAX {
        return usize::MAX;
    }
    let mut costs: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = costs[0];
        costs[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = costs[j + 1];
            costs[j + 1] = replaced.min(costs[j] + 1).min(diagonal + 1);
        }
    }
    costs[to.len()]
}

/// The object of a command.
pub(crate) fn of_args(reader: &Reader, args: &TargetArgs, zone: &Zone) -> Result<Target, CliError> {
    find(reader, &args.object, args.namespace.as_deref(), zone)
}

/// The object that a command line names.
pub(crate) fn find(
    reader: &Reader,
    word: &ObjectArg,
    namespace: Option<&str>,
    zone: &Zone,
) -> Result<Target, CliError> {
    if let (Some(one), Some(other)) = (&word.namespace, namespace)
        && one != other
    {
        return Err(CliError::Usage(format!(
            "the namespace is '{one}' in the object and '{other}' in --object-namespace"
        )));
    }
    let namespace = word.namespace.as_deref().or(namespace);
    let kinds = reader.recorded_kinds()?;
    let kind = kind_of(&kinds, &word.kind)?;
    if let (Some(namespace), false) = (namespace, kind.kind.namespaced) {
        return Err(CliError::Usage(format!(
            "{} is cluster-scoped and is not in namespace '{namespace}'\nomit the namespace",
            kind.kind.kind
        )));
    }
    let mut found = reader.recorded_objects(kind.id, &word.name, namespace)?;
    // Those that exist, if some were deleted in other namespaces.
    if found.len() > 1 && found.iter().filter(|one| one.deleted.is_none()).count() == 1 {
        found.retain(|one| one.deleted.is_none());
    }
    match found.len() {
        0 => Err(never_seen(reader, kind, word, namespace, zone)?),
        1 => Ok(Target {
            kind: kind.kind.clone(),
            object: found.remove(0),
        }),
        many => {
            const NAMED_MAX: usize = 10;
            let mut names: Vec<&str> = found.iter().map(|one| &*one.namespace).collect();
            names.truncate(NAMED_MAX);
            let more = if many > NAMED_MAX { ", …" } else { "" };
            Err(CliError::Usage(format!(
                "{} {} is in {}\nname one with --object-namespace: {}{more}",
                kind.kind.kind,
                word.name,
                counted(many as u64, "namespace"),
                names.join(", ")
            )))
        }
    }
}

fn never_seen(
    reader: &Reader,
    kind: &RecordedKind,
    word: &ObjectArg,
    namespace: Option<&str>,
    zone: &Zone,
) -> Result<CliError, CliError> {
    let what = title(&kind.kind, namespace.unwrap_or_default(), &word.name);
    let since: Option<Timestamp> = reader.recorded_since(kind.id)?;
    let elsewhere: Vec<String> = match namespace {
        Some(_) => reader
            .recorded_objects(kind.id, &word.name, None)?
            .into_iter()
            .take(3)
            .map(|one| one.namespace)
            .collect(),
        None => Vec::new(),
    };
    let record = match since {
        Some(since) => format!("which begins {}", zone.rfc3339(since)),
        None => format!("which has no {} yet", kind.kind.kind),
    };
    let advice = if elsewhere.is_empty() {
        String::new()
    } else {
        format!("an object of this name is in {}", elsewhere.join(", "))
    };
    Ok(CliError::no_answer(
        format!("{what} is not in the record, {record}"),
        advice,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (from, to, edits) in [
            ("deploy", "deploy", 0),
            ("deplyo", "deploy", 2),
            ("", "pod", 3),
            ("servce", "service", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }

    #[test]
    fn kind_with_a_mistake_names_the_nearest() {
        let message = |word: &str| unknown(&[], word).message_and_details();
        for (word, found) in [
            ("deplyment", "did you mean deployment?"),
            ("servics", "did you mean service"),
            ("confgmap", "did you mean configmap?"),
        ] {
            assert!(
                message(word).1.contains(found),
                "{word}: {:?}",
                message(word)
            );
        }
        assert!(
            message("x".repeat(5_000).as_str())
                .1
                .contains("as in kubectl")
        );
    }
}
