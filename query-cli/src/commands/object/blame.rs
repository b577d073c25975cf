//! `object blame`: an object with the author and time of each line.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{Write, stderr};

use kube9_db::read::{Reader, Revision, RevisionHead};
use kube9_model::change::path::Path;
use kube9_model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::yaml_lines::{Leaf, Line, lines};
use super::{deleted, is_creation, object_json, past, states_at};
use crate::args::{Format, ObjectBlameArgs};
use crate::commands::Context;
use crate::error::CliError;
use crate::output::{self, Stdout};
use crate::table::{Cell, Column, Table};
use crate::target::{self, Target};

pub(super) fn run(context: &Context, args: &ObjectBlameArgs) -> Result<(), CliError> {
    let now = context.now();
    let at = past("--at", args.at, &now)?;
    let reader = context.open()?;
    let target = target::of_args(&reader, &args.target, &now.zone)?;
    let mut found = states_at(&reader, &target, at, &now.zone)?;
    let is_exact = found.is_exact;
    let numbers: Vec<i64> = found.states.iter().map(|state| state.number).collect();
    let Some(state) = found.states.pop() else {
        return Err(CliError::NotFound(target.title()));
    };
    let Some(body) = &state.body else {
        return Err(deleted(&reader, &target, &state, &now.zone)?);
    };
    let (lines, leaves) = lines(body.stored());
    let origins = origins(&reader, &target, state.number, &leaves)?;
    let origin = |line: &Line| {
        // A line of a part is as old as the oldest field in it.
        origins
            .get(line.leaves.clone())?
            .iter()
            .min_by_key(|origin| origin.revision())
    };
    let mut out = Stdout::lock();
    match context.format {
        Format::Json | Format::Yaml => {
            let lines: Vec<Value> = lines
                .iter()
                .map(|line| {
                    let mut entry = Map::new();
                    entry.insert("line".to_owned(), line.text.clone().into());
                    if line.leaves.len() == 1 {
                        let path = leaves[line.leaves.start].path.to_string();
                        entry.insert("path".to_owned(), path.into());
                    }
                    if let Some(origin) = origin(line) {
                        origin.add_to(&mut entry);
                    }
                    entry.into()
                })
                .collect();
            let document = json!({
                "object": object_json(&target),
                "at": at.to_string(),
                "revision": state.number,
                "exact": is_exact,
                "one_of": if is_exact { Value::Null } else { json!(numbers) },
                "lines": lines,
            });
            output::write_document(&mut out, context.format, &document)?;
        }
        _ => {
            let time = format!("TIME ({})", now.zone.name());
            let mut table = Table::new(vec![
                Column::number("REVISION"),
                Column::fixed(&time),
                Column::shrink_middle("BY", 8),
                Column::shrinkable("OBJECT", 30).with_weight(3),
            ]);
            for line in &lines {
                let (revision, time, by) = match origin(line) {
                    Some(Origin::Revision(one)) => (
                        one.head.number.to_string(),
                        one.time(|at| now.zone.seconds(at)),
                        one.by
                            .as_ref()
                            .map_or_else(|| "unknown".to_owned(), |by| by.join(", ")),
                    ),
                    Some(Origin::Older(since)) => (
                        String::new(),
                        format!("before {}", now.zone.seconds(*since)),
                        "unknown".to_owned(),
                    ),
                    None => (String::new(), String::new(), String::new()),
                };
                table.push(vec![
                    Cell::new(&revision),
                    Cell::new(&time),
                    Cell::new(&by),
                    Cell::new(&line.text),
                ]);
            }
            table.write(&mut out, context.terminal)?;
            out.flush()?;
            if !is_exact {
                let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                // Ignores a closed stderr.
                let _ = writeln!(
                    stderr().lock(),
                    "the state at that time is not known exactly; it was one of the revisions {}, or one that is not \
                     recorded",
                    numbers.join(", ")
                );
            }
        }
    }
    out.finish()
}

/// Where a field has its value from.
#[derive(Debug, Clone)]
enum Origin {
    /// The revision that set it.
    Revision(Setter),
    /// It had this value already when the record of the object began.
    Older(Timestamp),
}

#[derive(Debug, Clone)]
struct Setter {
    head: RevisionHead,
    /// `None`: not known.
    by: Option<Vec<String>>,
}

impl Setter {
    fn time(&self, show: impl Fn(Timestamp) -> String) -> String {
        let late = if self.head.from.is_some() { "≤ " } else { "" };
        format!("{late}{}", show(self.head.at))
    }
}

impl Origin {
    const fn revision(&self) -> i64 {
        match self {
            Self::Revision(setter) => setter.head.number,
            Self::Older(_) => 0,
        }
    }

    fn add_to(&self, entry: &mut Map<String, Value>) {
        match self {
            Self::Revision(setter) => {
                entry.insert("revision".to_owned(), setter.head.number.into());
                entry.insert("at".to_owned(), setter.head.at.to_string().into());
                if let Some(from) = setter.head.from {
                    entry.insert("from".to_owned(), from.to_string().into());
                }
                entry.insert("by".to_owned(), json!(setter.by));
            }
            Self::Older(since) => {
                entry.insert("revision".to_owned(), Value::Null);
                entry.insert("before".to_owned(), since.to_string().into());
                entry.insert("by".to_owned(), Value::Null);
            }
        }
    }
}

/// The origin of each leaf: the revision before which the object had another value there.
fn origins(
    reader: &Reader,
    target: &Target,
    number: i64,
    leaves: &[Leaf<'_>],
) -> Result<Vec<Origin>, CliError> {
    // With whether it is the creation.
    let mut set_by: Vec<Option<(RevisionHead, bool)>> = vec![None; leaves.len()];
    let mut left: Vec<usize> = (0..leaves.len()).collect();
    let mut newer: Option<Revision> = None;
    reader.walk_revisions(target.object.id, |revision| {
        if revision.head.number > number {
            return Ok(true);
        }
        if let Some(newer) = &newer {
            left.retain(|&n| {
                let is_older = revision
                    .body
                    .as_ref()
                    .is_some_and(|body| leaves[n].is_in(target.kind.rules, body.stored()));
                if !is_older {
                    set_by[n] = Some((newer.head.clone(), revision.body.is_none()));
                }
                is_older
            });
        }
        newer = Some(revision);
        Ok::<bool, CliError>(!left.is_empty())
    })?;
    let mut since = Timestamp::EPOCH;
    if let Some(oldest) = newer {
        since = oldest.head.from.unwrap_or(oldest.head.at);
        if is_creation(target, &oldest.head) {
            left.iter()
                .for_each(|&n| set_by[n] = Some((oldest.head.clone(), true)));
        }
    }
    let mut rows: HashMap<i64, Vec<RowAuthor>> = HashMap::new();
    let mut origins = Vec::with_capacity(leaves.len());
    for (leaf, head) in leaves.iter().zip(set_by) {
        origins.push(match head {
            None => Origin::Older(since),
            Some((head, is_creation)) if is_creation && head.from.is_some() => {
                // It was seen later, and others may have changed it meanwhile.
                Origin::Revision(Setter { head, by: None })
            }
            Some((head, _)) => {
                let row = match rows.entry(head.number) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => place.insert(row_authors(reader, &head)?),
                };
                Origin::Revision(Setter {
                    by: author(&head, row, &leaf.path),
                    head,
                })
            }
        });
    }
    Ok(origins)
}

/// A manager and the fields that it wrote; none: all of the change.
struct RowAuthor {
    manager: String,
    paths: Vec<Path>,
}

fn row_authors(reader: &Reader, head: &RevisionHead) -> Result<Vec<RowAuthor>, CliError> {
    let row = match head.event {
        Some(event) => reader.get(&event.to_string())?,
        None => None,
    };
    let metadata = row.map(|row| output::metadata(&row)).unwrap_or_default();
    let by = metadata.get("by").and_then(Value::as_array);
    let authors = by.into_iter().flatten().filter_map(|by| {
        let paths = by.get("paths").and_then(Value::as_array);
        let paths = paths.into_iter().flatten().filter_map(Value::as_str);
        Some(RowAuthor {
            manager: by.get("manager")?.as_str()?.to_owned(),
            paths: paths.filter_map(|path| Path::parse(path).ok()).collect(),
        })
    });
    Ok(authors.collect())
}

/// Who set a field; `None` if that is not known.
fn author(head: &RevisionHead, row: &[RowAuthor], leaf: &Path) -> Option<Vec<String>> {
    let names = |authors: &mut dyn Iterator<Item = &RowAuthor>| -> Vec<String> {
        let mut names: Vec<String> = authors.map(|author| author.manager.clone()).collect();
        names.sort();
        names.dedup();
        names
    };
    let all = names(&mut row.iter());
    if head.left_out > 0 {
        // Any of those who made the states that were not kept, of which the row names those of its own changes.
        let of_all = head.author.as_deref()?;
        return (all.len() == 1 && all[0] == of_all).then_some(all);
    }
    // A list without identities is one field here; a change names the part of it.
    let is_of = |author: &&RowAuthor| {
        let mut paths = author.paths.iter();
        author.paths.is_empty() || paths.any(|path| path.contains(leaf) || leaf.contains(path))
    };
    let of_field = names(&mut row.iter().filter(is_of));
    if !of_field.is_empty() {
        return Some(of_field);
    }
    if !row.is_empty() {
        // Others wrote other fields of this revision.
        return None;
    }
    let names = head.author.as_deref()?;
    let names: Vec<String> = names.split(", ").map(str::to_owned).collect();
    // Which of several wrote this field is not known without the row.
    (names.len() == 1).then_some(names)
}
