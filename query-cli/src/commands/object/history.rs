//! `object history`: the recorded states of an object.

use std::io::{Write, stderr};

use kube9_db::read::{Revision, RevisionHead};
use kube9_model::change::body::Body;
use kube9_model::change::diff::{FieldChange, changes};
use kube9_model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::{field_json, is_creation, object_json};
use crate::answers::fields_text;
use crate::args::{Format, ObjectHistoryArgs};
use crate::commands::Context;
use crate::error::CliError;
use crate::output::{self, Stdout};
use crate::table::{Cell, Column, Table};
use crate::target::{self, Target};
use crate::text::counted;

pub(super) fn run(context: &Context, args: &ObjectHistoryArgs) -> Result<(), CliError> {
    let now = context.now();
    let since = args.since.map(|time| time.resolve(&now));
    let until = args.until.map(|time| time.resolve(&now));
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        return Err(CliError::Usage(format!(
            "--since ({}) must be before --until ({})",
            now.zone.rfc3339(since),
            now.zone.rfc3339(until)
        )));
    }
    let reader = context.open()?;
    let target = target::of_args(&reader, &args.target, &now.zone)?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut newer: Option<Revision> = None;
    let mut has_more = false;
    reader.walk_revisions(target.object.id, |revision| {
        if let Some(newer) = newer.take() {
            let entry = Entry::new(&target, newer, Some(&revision));
            has_more = !entry.push_to(&mut entries, (since, until), args.limit);
        }
        newer = Some(revision);
        Ok::<bool, CliError>(!has_more)
    })?;
    if let Some(oldest) = newer.filter(|_| !has_more) {
        let entry = Entry::new(&target, oldest, None);
        has_more = !entry.push_to(&mut entries, (since, until), args.limit);
    }
    let mut out = Stdout::lock();
    match context.format {
        Format::Json | Format::Yaml => {
            let revisions: Vec<&Value> = entries.iter().map(|entry| &entry.json).collect();
            let document = json!({
                "object": object_json(&target),
                "revisions": revisions,
                "has_more": has_more,
            });
            output::write_document(&mut out, context.format, &document)?;
        }
        format => {
            let time = format!("TIME ({})", now.zone.name());
            let mut columns = vec![
                Column::number("REVISION"),
                Column::fixed(&time),
                Column::shrinkable("WHAT", 20).with_weight(3),
                Column::shrinkable("BY", 8),
            ];
            if format == Format::Wide {
                columns.extend([Column::fixed("RESOURCEVERSION"), Column::fixed("EVENT")]);
            }
            let mut table = Table::new(columns);
            for entry in &entries {
                let head = &entry.head;
                let late = if head.from.is_some() { "≤ " } else { "" };
                let mut cells = vec![
                    Cell::new(&head.number.to_string()),
                    Cell::new(&format!("{late}{}", now.zone.seconds(head.at))),
                    Cell::sentence(&entry.what),
                    Cell::new(entry.by()),
                ];
                if format == Format::Wide {
                    cells.push(Cell::new(&head.resource_version));
                    let event = head.event.map(|event| event.to_string());
                    cells.push(Cell::new(event.as_deref().unwrap_or("-")));
                }
                table.push(cells);
            }
            if !entries.is_empty() {
                table.write(&mut out, context.terminal)?;
            }
            out.flush()?;
            let shown = counted(entries.len() as u64, "state");
            let line = match (entries.is_empty(), has_more) {
                (true, _) => "no states in this range".to_owned(),
                (false, true) => {
                    format!("{shown}, and older ones; for more, use --limit or --until")
                }
                (false, false) => shown,
            };
            // Ignores a closed stderr.
            let _ = writeln!(stderr().lock(), "{line}");
        }
    }
    out.finish()
}

/// A revision as it is printed; without its body.
struct Entry {
    head: RevisionHead,
    what: String,
    json: Value,
}

impl Entry {
    fn new(target: &Target, revision: Revision, older: Option<&Revision>) -> Self {
        let rules = target.kind.rules;
        let Revision { head, body } = revision;
        let before = older.and_then(|older| older.body.as_ref());
        let (op, fields) = match (&body, before, older) {
            (None, ..) => ("deleted", Vec::new()),
            (Some(after), Some(before), _) => ("changed", changes(rules, before, after, false)),
            (Some(_), None, Some(_)) => ("created", Vec::new()),
            (Some(_), None, None) if is_creation(target, &head) => ("created", Vec::new()),
            (Some(_), None, None) => ("first known", Vec::new()),
        };
        let what = what(op, &fields, &head);
        let mut json = Map::new();
        json.insert("revision".to_owned(), head.number.into());
        json.insert("at".to_owned(), head.at.to_string().into());
        if let Some(from) = head.from {
            json.insert("from".to_owned(), from.to_string().into());
        }
        json.insert("op".to_owned(), op.into());
        if op == "changed" {
            let fields: Vec<Value> = fields.iter().map(field_json).collect();
            json.insert("fields".to_owned(), fields.into());
        }
        let authors: Option<Vec<&str>> = head
            .author
            .as_deref()
            .map(|names| names.split(", ").collect());
        json.insert("by".to_owned(), json!(authors));
        if let Some(cause) = &head.cause {
            json.insert("cause".to_owned(), cause.clone().into());
        }
        if head.left_out > 0 {
            json.insert("states_left_out".to_owned(), head.left_out.into());
        }
        json.insert(
            "complete".to_owned(),
            body.as_ref().is_none_or(Body::is_complete).into(),
        );
        json.insert(
            "resource_version".to_owned(),
            head.resource_version.clone().into(),
        );
        let event = head.event.map(|event| event.to_string());
        json.insert("event".to_owned(), json!(event));
        Self {
            head,
            what,
            json: json.into(),
        }
    }

    /// `false` if the list is full.
    fn push_to(
        self,
        entries: &mut Vec<Self>,
        (since, until): (Option<Timestamp>, Option<Timestamp>),
        limit: usize,
    ) -> bool {
        let is_early = since.is_some_and(|since| self.head.at < since);
        let is_late = until.is_some_and(|until| self.head.from.unwrap_or(self.head.at) >= until);
        if is_early || is_late {
            return true;
        }
        if entries.len() == limit {
            return false;
        }
        entries.push(self);
        true
    }

    fn by(&self) -> &str {
        match (&self.head.author, &*self.what) {
            (Some(author), _) => author,
            (None, "first known") => "-",
            (None, what) if what.starts_with("deleted") => "-",
            (None, _) => "unknown",
        }
    }
}

fn what(op: &str, fields: &[FieldChange<'_>], head: &RevisionHead) -> String {
    let mut text = match (op, head.cause.as_deref()) {
        ("deleted", Some(cause)) => format!("deleted ({cause})"),
        ("changed", Some("defaulted")) => format!("defaulted: {}", fields_text::of(fields)),
        ("changed", _) if fields.is_empty() => "written, nothing changed".to_owned(),
        ("changed", _) => fields_text::of(fields),
        (op, _) => op.to_owned(),
    };
    if head.left_out > 0 {
        text.push_str(&format!(
            " (and {} before, not kept)",
            counted(u64::from(head.left_out), "state")
        ));
    }
    text
}
