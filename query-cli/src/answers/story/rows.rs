//! The rows of a story: each row about the workload or what is around it, once.

use std::collections::{BTreeMap, BTreeSet};

use kube9_db::read::{
    ChangeFilter, Filter, FindingStates, ObjectPattern, OwnerPattern, PageRequest, Pattern,
    ReadError, Reader, Row,
};
use kube9_model::EventType;
use kube9_model::time::Timestamp;
use serde_json::Value;

use super::related::{Around, Relation, own_kind};
use crate::output::metadata;
use crate::target::Target;

/// Rows that each of the queries below reads, the newest first.
const ROWS_MAX: usize = 1000;
/// Nodes whose rows are read.
const NODES_MAX: usize = 20;

/// A row with what a story needs of it.
#[derive(Debug)]
pub(super) struct StoryRow {
    pub(super) row: Row,
    pub(super) metadata: Value,
    pub(super) relation: Relation,
    /// When what it reports began.
    pub(super) begin: Timestamp,
    /// When it last occurred, or the finding closed.
    pub(super) end: Timestamp,
}

/// The rows of a story, the oldest first.
#[derive(Debug, Default)]
pub(super) struct StoryRows {
    pub(super) rows: Vec<StoryRow>,
    /// When the record of the workload's kind begins.
    pub(super) recorded_since: Option<Timestamp>,
    pub(super) gaps: Vec<Gap>,
    /// There are more rows.
    pub(super) is_cut: bool,
}

/// A time in which some kinds were not observed.
#[derive(Debug, Clone)]
pub(super) struct Gap {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) title: String,
    pub(super) id: String,
}

impl StoryRow {
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.metadata.get(key)?.as_str()
    }

    pub(super) fn time(&self, key: &str) -> Option<Timestamp> {
        Timestamp::parse(self.text(key)?).ok()
    }

    pub(super) fn reason(&self) -> &str {
        self.text("reason").unwrap_or_default()
    }

    /// A change of an object.
    pub(super) fn is_change(&self) -> bool {
        self.text("op").is_some()
    }

    /// A finding about something that is wrong now: no advice about a configuration.
    pub(super) fn is_failure_finding(&self) -> bool {
        self.text("finding").is_some()
            && matches!(&*self.row.event_type, "health" | "insight")
            && self.is_problem()
    }

    /// At least a warning.
    pub(super) fn is_problem(&self) -> bool {
        self.row.severity != "info"
    }

    /// When a finding closed; `None`: it is open.
    pub(super) fn resolved(&self) -> Option<Timestamp> {
        self.time("resolved_at")
    }

    fn of(row: Row, relation: Relation) -> Self {
        let metadata = metadata(&row);
        let time = |key: &str| Timestamp::parse(metadata.get(key)?.as_str()?).ok();
        let created = Timestamp::parse(&row.created_at).unwrap_or_default();
        let begin = time("since")
            .or_else(|| time("first_timestamp"))
            .unwrap_or(created);
        let end = time("resolved_at")
            .or_else(|| time("last_timestamp"))
            .unwrap_or(begin);
        Self {
            row,
            relation,
            begin,
            end: end.max(begin),
            metadata,
        }
    }
}

/// Reads the rows of a range.
pub(super) fn read(
    reader: &Reader,
    target: &Target,
    around: &Around,
    (since, until): (Timestamp, Timestamp),
) -> Result<StoryRows, ReadError> {
    let range = Filter {
        since: Some(since),
        until: Some(until),
        ..Filter::default()
    };
    let mut collector = Collector {
        reader,
        rows: BTreeMap::new(),
        is_cut: false,
    };
    let changes = || Some(ChangeFilter::default());
    let is_cluster_scoped = target.object.namespace.is_empty();
    collector.add(Relation::Own, with_objects(&range, vec![target.pattern()]))?;
    if target.kind.kind == "Node" {
        collector.add(
            Relation::Carried,
            Filter {
                nodes: vec![Pattern::Exact(target.object.name.clone())],
                ..range.clone()
            },
        )?;
    }
    if !is_cluster_scoped {
        collector.add(Relation::Part, of_pods(&range, target))?;
        collector.add_makers(target, &range)?;
        for relation in [Relation::Referenced, Relation::Attached] {
            let objects = around.objects.iter().filter(|(one, _)| *one == relation);
            let objects: Vec<ObjectPattern> = objects.map(|(_, object)| object.clone()).collect();
            if !objects.is_empty() {
                collector.add(relation, with_objects(&range, objects))?;
            }
        }
        collector.add(
            Relation::Namespace,
            Filter {
                kinds: around.in_namespace.clone(),
                namespaces: vec![Pattern::Exact(target.object.namespace.clone())],
                changes: changes(),
                ..range.clone()
            },
        )?;
    }
    collector.add(
        Relation::Cluster,
        Filter {
            kinds: around.in_cluster.clone(),
            changes: changes(),
            ..range.clone()
        },
    )?;
    collector.add_nodes(&range)?;
    let gaps = gaps(reader, &range)?;
    let mut rows: Vec<StoryRow> = collector.rows.into_values().collect();
    rows.sort_by(|one, other| (one.begin, &one.row.id).cmp(&(other.begin, &other.row.id)));
    Ok(StoryRows {
        rows,
        recorded_since: reader.recorded_since(target.object.kind)?,
        gaps,
        is_cut: collector.is_cut,
    })
}

/// The newest findings about the workload, its pods and what is attached to it, before a time.
pub(super) fn findings_before(
    reader: &Reader,
    target: &Target,
    around: &Around,
    until: Timestamp,
) -> Result<Vec<StoryRow>, ReadError> {
    let findings = Filter {
        until: Some(until),
        findings: Some(FindingStates::All),
        ..Filter::default()
    };
    let mut collector = Collector {
        reader,
        rows: BTreeMap::new(),
        is_cut: false,
    };
    let attached = around
        .objects
        .iter()
        .filter(|(one, _)| *one == Relation::Attached);
    let mut objects: Vec<ObjectPattern> = attached.map(|(_, object)| object.clone()).collect();
    objects.push(target.pattern());
    collector.add(Relation::Own, with_objects(&findings, objects))?;
    if !target.object.namespace.is_empty() {
        collector.add(Relation::Part, of_pods(&findings, target))?;
    }
    Ok(collector.rows.into_values().collect())
}

fn with_objects(range: &Filter, objects: Vec<ObjectPattern>) -> Filter {
    Filter {
        objects,
        ..range.clone()
    }
}

/// Rows about pods name their controller.
fn of_pods(range: &Filter, target: &Target) -> Filter {
    Filter {
        namespaces: vec![Pattern::Exact(target.object.namespace.clone())],
        owners: vec![OwnerPattern {
            kind: Some(own_kind(&target.kind.kind)),
            name: Pattern::Exact(target.object.name.clone()),
        }],
        ..range.clone()
    }
}

/// The kind that makes the pods of a kind.
fn maker(kind: &str) -> Option<&'static str> {
    match kind {
        "Deployment" => Some("ReplicaSet"),
        "CronJob" => Some("Job"),
        _ => None,
    }
}

struct Collector<'r> {
    reader: &'r Reader,
    /// By id: a row can be found in several ways, and the first counts.
    rows: BTreeMap<String, StoryRow>,
    is_cut: bool,
}

impl Collector<'_> {
    fn add(&mut self, relation: Relation, filter: Filter) -> Result<(), ReadError> {
        let page = self.reader.list(&PageRequest {
            filter,
            limit: ROWS_MAX,
            ..PageRequest::default()
        })?;
        self.is_cut |= page.next.is_some();
        for row in page.rows {
            let story_row = || StoryRow::of(row.clone(), relation);
            self.rows.entry(row.id.clone()).or_insert_with(story_row);
        }
        Ok(())
    }

    /// ReplicaSets and Jobs: what could not create pods is reported of them.
    fn add_makers(&mut self, target: &Target, range: &Filter) -> Result<(), ReadError> {
        let Some(kind) = maker(&target.kind.kind) else {
            return Ok(());
        };
        let start = format!("{}-", target.object.name);
        let glob = ObjectPattern {
            kind: own_kind(kind),
            // A name has no character that a glob gives a meaning to.
            name: Pattern::Glob(format!("{start}*")),
            namespace: Some(Pattern::Exact(target.object.namespace.clone())),
        };
        let before: BTreeSet<String> = self.rows.keys().cloned().collect();
        self.add(Relation::Part, with_objects(range, vec![glob]))?;
        // `web-7d9f` is of `web`, and `web-api-7d9f` is not.
        self.rows.retain(|id, found| {
            before.contains(id)
                || found
                    .row
                    .object_name
                    .as_deref()
                    .and_then(|name| name.strip_prefix(&start))
                    .is_some_and(|rest| !rest.contains('-'))
        });
        Ok(())
    }

    /// The rows about the nodes that have run the pods: changes and problems.
    fn add_nodes(&mut self, range: &Filter) -> Result<(), ReadError> {
        let parts = self
            .rows
            .values()
            .filter(|row| row.relation <= Relation::Part);
        let nodes: BTreeSet<String> = parts
            .filter_map(|row| row.text("node").map(str::to_owned))
            .take(100_000)
            .collect();
        let objects: Vec<ObjectPattern> = nodes
            .into_iter()
            .take(NODES_MAX)
            .map(|node| ObjectPattern {
                kind: own_kind("Node"),
                name: Pattern::Exact(node),
                namespace: None,
            })
            .collect();
        if objects.is_empty() {
            return Ok(());
        }
        let known: BTreeSet<String> = self.rows.keys().cloned().collect();
        self.add(Relation::Node, with_objects(range, objects))?;
        self.rows
            .retain(|id, row| known.contains(id) || row.is_change() || row.is_problem());
        Ok(())
    }
}

/// The gaps that reach into the range.
fn gaps(reader: &Reader, range: &Filter) -> Result<Vec<Gap>, ReadError> {
    let page = reader.list(&PageRequest {
        filter: Filter {
            types: vec![EventType::System],
            reasons: vec![Pattern::Exact("RecordingGap".to_owned())],
            ..range.clone()
        },
        limit: ROWS_MAX,
        ..PageRequest::default()
    })?;
    let until = range.until.unwrap_or_default();
    let gap = |row: Row| {
        let row = StoryRow::of(row, Relation::Cluster);
        let is_open = row.text("to").is_none() && row.text("recovery").is_none();
        Gap {
            from: row.time("from").unwrap_or(row.begin),
            to: if is_open {
                until.max(row.end)
            } else {
                row.time("to").unwrap_or(row.end)
            },
            title: row.row.title,
            id: row.row.id,
        }
    };
    let mut gaps: Vec<Gap> = page.rows.into_iter().map(gap).collect();
    gaps.sort_by_key(|gap| gap.from);
    Ok(gaps)
}
