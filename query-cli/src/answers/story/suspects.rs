//! Suspects: changes before the onset, scored, each with its reasons.

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_model::change::kinds::rules_of;
use kube9_model::change::path::Path;
use kube9_model::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::failure::Episode;
use super::related::Relation;
use super::rows::{StoryRow, StoryRows};
use super::weights;
use crate::answers::change::{by, object, what};
use crate::time_arg::format_age;

/// A change that preceded the failure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Suspect {
    /// Id of its row.
    pub(crate) id: String,
    /// When it was made; the earliest time if that is not known exactly.
    pub(crate) at: String,
    /// `Deployment/web/shop`
    pub(crate) object: String,
    pub(crate) what: String,
    pub(crate) by: String,
    /// From 0 up: comparable within one story.
    pub(crate) score: f64,
    /// Why it is one, in words.
    pub(crate) reasons: Vec<String>,
}

/// Suspects of an episode, and why there are none or what may be missing.
pub(super) fn of(found: &StoryRows, episode: &Episode) -> (Vec<Suspect>, Option<String>) {
    let from = episode.onset.minus(weights::BEFORE_MAX);
    if let Some(gap) = found
        .gaps
        .iter()
        .find(|gap| gap.from <= from && gap.to >= episode.onset)
    {
        let note = format!(
            "changes before the failure are not recorded: nothing was observed from {} to {} ({})",
            gap.from, gap.to, gap.id
        );
        return (Vec::new(), Some(note));
    }
    let mut missing: Vec<String> = found
        .gaps
        .iter()
        .filter(|gap| gap.to > from && gap.from <= episode.onset)
        .map(|gap| format!("from {} to {}", gap.from, gap.to))
        .collect();
    if let Some(since) = found.recorded_since.filter(|since| *since > from) {
        missing.insert(0, format!("before {since}, when the record begins"));
    }
    let templates = Templates::of(found);
    let mut suspects: Vec<Suspect> = found
        .rows
        .iter()
        .filter(|row| row.is_change())
        .filter_map(|row| suspect(row, found, episode, &templates))
        .collect();
    suspects.sort_by(|one, other| {
        let by_score = other.score.total_cmp(&one.score);
        by_score.then_with(|| other.at.cmp(&one.at))
    });
    suspects.truncate(weights::SUSPECTS_MAX);
    let note = if missing.is_empty() {
        suspects.is_empty().then(|| {
            format!(
                "no change of the workload or what it depends on is recorded in the {} before the failure",
                format_age(weights::BEFORE_MAX)
            )
        })
    } else {
        let times = missing.join(", ");
        Some(format!(
            "changes may be missing: not everything was observed {times}"
        ))
    };
    (suspects, note)
}

fn suspect(
    row: &StoryRow,
    found: &StoryRows,
    episode: &Episode,
    templates: &Templates,
) -> Option<Suspect> {
    // A pod that a controller deletes is a consequence.
    let cause = row.metadata.pointer("/cause/kind").and_then(Value::as_str);
    if matches!(row.relation, Relation::Part | Relation::Carried)
        && cause.is_some_and(|cause| cause != "request")
    {
        return None;
    }
    // A change is made at its first time; a folded row stands for several.
    let at = between(row).map_or(row.begin, |(from, _)| from);
    let latest = if row.metadata.get("changes").is_some() {
        row.end
    } else {
        at
    };
    // Times of changes have whole seconds.
    if at.second() > episode.onset.second() || latest < episode.onset.minus(weights::BEFORE_MAX) {
        return None;
    }
    let before = episode.onset.since(latest.min(episode.onset));
    let mut reasons = vec![format!("{} before the failure", format_age(before))];
    if before == Duration::ZERO {
        reasons[0] = "in the second of the failure".to_owned();
    }
    let mut score = weights::of_time(before) * weights::of_relation(row.relation);
    reasons.push(relation_words(row.relation).to_owned());
    let (risk, words) = risk(row);
    score *= risk;
    reasons.extend(words);
    if row.relation == Relation::Own && changes_template(row) {
        match templates.who_fails(at, episode) {
            Some(true) => {
                score *= weights::ONLY_NEW_PODS;
                reasons.push("only pods of the new template fail".to_owned());
            }
            Some(false) => {
                score *= weights::OLD_PODS_TOO;
                reasons.push("pods of the template before fail too".to_owned());
            }
            None => {}
        }
    }
    if is_named(row, found, episode) {
        score *= weights::NAMED;
        reasons.push("a finding says that the pods fail after it".to_owned());
    }
    if let Some(back) = taken_back(row, found, episode) {
        score *= weights::TAKEN_BACK;
        let over = episode
            .over
            .map_or(Duration::ZERO, |over| over.since(back.min(over)));
        reasons.push(format!(
            "taken back at {back}, {} before the end of the failure",
            format_age(over)
        ));
    }
    if let Some((from, to)) = between(row) {
        reasons.push(format!("made at an unknown time between {from} and {to}"));
    }
    (score >= weights::SCORE_MIN).then(|| {
        let namespace = row.row.object_namespace.as_deref().unwrap_or_default();
        let slash = if namespace.is_empty() { "" } else { "/" };
        Suspect {
            id: row.row.id.clone(),
            at: at.to_string(),
            object: format!("{}{slash}{namespace}", object(&row.metadata, &row.row)),
            what: what(&row.metadata, &row.row),
            by: by(&row.metadata),
            score: (score * 100.0).round() / 100.0,
            reasons,
        }
    })
}

/// Whether a finding of the episode names the change.
fn is_named(row: &StoryRow, found: &StoryRows, episode: &Episode) -> bool {
    let kind = row.row.object_kind.as_deref().unwrap_or_default();
    let name = row.row.object_name.as_deref().unwrap_or_default();
    let named = match row.row.object_namespace.as_deref() {
        Some(namespace) => format!("{kind}/{namespace}/{name}"),
        None => format!("{kind}/{name}"),
    };
    found.rows.iter().any(|finding| {
        finding.is_failure_finding()
            && finding.end >= episode.onset
            && finding.text("changed_object") == Some(&named)
            && finding
                .time("changed_at")
                .is_some_and(|at| at.second() == row.begin.second())
    })
}

/// The interval in which a change was made, where its time is not known.
fn between(row: &StoryRow) -> Option<(Timestamp, Timestamp)> {
    let interval = row.metadata.get("between")?;
    let time = |value: Option<&Value>| Timestamp::parse(value?.as_str()?).ok();
    Some((
        time(interval.get(0).or_else(|| interval.get("from")))?,
        time(interval.get(1).or_else(|| interval.get("to")))?,
    ))
}

const fn relation_words(relation: Relation) -> &'static str {
    match relation {
        Relation::Own => "of the workload itself",
        Relation::Part => "of a pod of the workload",
        Relation::Referenced => "the template refers to the object",
        Relation::Attached => "the object selects or scales the pods",
        Relation::Node => "of a node that ran its pods",
        Relation::Carried => "of a pod on the node",
        Relation::Namespace => "limits what the namespace may do",
        Relation::Cluster => "applies to the whole cluster",
    }
}

fn fields(row: &StoryRow) -> impl Iterator<Item = &Value> {
    let fields = row.metadata.get("fields").and_then(Value::as_array);
    fields.into_iter().flatten()
}

fn path_of(field: &Value) -> &str {
    field
        .get("path")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// How much the kind of change weighs.
fn risk(row: &StoryRow) -> (f64, Option<String>) {
    match row.text("op") {
        Some("deleted" | "deleting") => {
            return (weights::DELETED, Some("the object was deleted".to_owned()));
        }
        Some("created") if matches!(row.relation, Relation::Namespace | Relation::Cluster) => {
            let words = "it limits what is allowed since then".to_owned();
            return (weights::LIMIT_CREATED, Some(words));
        }
        Some("created") => return (weights::CREATED, None),
        _ => {}
    }
    let kind = row.row.object_kind.as_deref().unwrap_or_default();
    let rules = rules_of(row.text("api_group").unwrap_or_default(), kind);
    let mut risk = weights::HARMLESS;
    for field in fields(row) {
        let path = path_of(field);
        let is_risky = Path::parse(path).is_ok_and(|path| rules.is_risky(&path));
        // A node that is uncordoned takes pods again.
        if path == "spec.unschedulable" && field.get("to") != Some(&Value::Bool(true)) {
            continue;
        }
        let is_replicas = path == "spec.replicas";
        if is_replicas && field.get("to") == Some(&Value::from(0)) {
            return (weights::RISKY, Some("scaled to zero".to_owned()));
        }
        let is_harmless = path.starts_with("metadata.") || is_replicas;
        if is_risky && !is_replicas {
            let words = format!("changes of {} often break something", short(path));
            return (weights::RISKY, Some(words));
        }
        if !is_harmless {
            risk = weights::PLAIN;
        }
    }
    (risk, None)
}

/// The last field of a path.
fn short(path: &str) -> &str {
    match path.rsplit_once('.') {
        Some((_, last)) if !last.contains('"') => last,
        _ => path,
    }
}

fn changes_template(row: &StoryRow) -> bool {
    fields(row).any(|field| path_of(field).starts_with("spec.template."))
}

/// When the fields of a change got their values from before back, after the onset and before the end.
fn taken_back(row: &StoryRow, found: &StoryRows, episode: &Episode) -> Option<Timestamp> {
    let is_back = |later: &&StoryRow| {
        later.row.object_kind == row.row.object_kind
            && later.row.object_namespace == row.row.object_namespace
            && later.row.object_name == row.row.object_name
            && later.is_change()
            && later.begin > episode.onset
            && episode.over.is_none_or(|over| later.begin <= over)
    };
    let restores = |later: &&StoryRow| {
        if row.text("op") == Some("deleted") {
            return later.text("op") == Some("created");
        }
        if row.text("op") == Some("created") {
            return later.text("op") == Some("deleted");
        }
        let mut all = fields(row).peekable();
        all.peek().is_some()
            && all.all(|field| {
                fields(later).any(|back| {
                    path_of(back) == path_of(field) && back.get("to") == field.get("from")
                })
            })
    };
    let later = found.rows.iter().filter(is_back).find(restores)?;
    Some(later.begin)
}

/// When pods of each template were first seen, by the hash in their names.
struct Templates(BTreeMap<String, Timestamp>);

impl Templates {
    fn of(found: &StoryRows) -> Self {
        let mut first = BTreeMap::new();
        for row in found
            .rows
            .iter()
            .filter(|row| row.row.object_kind.as_deref() == Some("Pod"))
        {
            let name = row.row.object_name.as_deref().unwrap_or_default();
            if let Some(hash) = template_hash(name) {
                let at = first.entry(hash.to_owned()).or_insert(row.begin);
                *at = row.begin.min(*at);
            }
        }
        Self(first)
    }

    /// Whether only pods that were created after a change fail; `None` if that is not known, or all pods are new.
    fn who_fails(&self, change: Timestamp, episode: &Episode) -> Option<bool> {
        let (mut new, mut old) = (0, 0);
        for pod in &episode.pods {
            let name = pod.rsplit('/').next().unwrap_or_default();
            match self.0.get(template_hash(name)?) {
                Some(first) if *first >= change => new += 1,
                Some(_) => old += 1,
                None => return None,
            }
        }
        match (new, old) {
            (0, 0) => None,
            (_, 0) => Some(true),
            _ => Some(false),
        }
    }
}

/// `7d9f` of the pod `web-7d9f-x2x7k` of a Deployment.
fn template_hash(pod: &str) -> Option<&str> {
    let (start, last) = pod.rsplit_once('-')?;
    let (_, hash) = start.rsplit_once('-')?;
    (last.len() == 5 && hash.bytes().any(|byte| byte.is_ascii_digit())).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn template_hash_is_the_part_before_the_last() {
        for (pod, hash) in [
            ("web-7d9fb-x2x7k", Some("7d9fb")),
            ("web-api-5d9c7b-abcde", Some("5d9c7b")),
            ("postgres-0", None),
            ("web", None),
            ("job-29935547-zgc9t", Some("29935547")),
        ] {
            assert_eq!(template_hash(pod), hash, "{pod}");
        }
    }
}
