//! `changes`: what changed, and who changed it.

use kube9_db::read::{Filter, KindPattern, ObjectPattern, Pattern, Row};
use kube9_model::change::kinds::stored_group;
use kube9_model::time::Timestamp;
use serde_json::Value;

use super::event_table::{self, Streamed, age, in_namespace, is_narrow};
use super::list::Listing;
use super::{Context, fields_text, watch};
use crate::args::{ChangesArgs, Field, Format};
use crate::error::CliError;
use crate::output::{cell, metadata};
use crate::table::{Cell, Column, Table};
use crate::target;
use crate::terminal::Terminal;

pub(super) fn run(context: &Context, args: &ChangesArgs) -> Result<(), CliError> {
    let now = context.now();
    let mut filter = args.resolve(&now)?;
    let reader = context.open()?;
    if let Some(named) = &args.object {
        let namespace = match &filter.namespaces[..] {
            [Pattern::Exact(namespace)] => Some(namespace.clone()),
            _ => None,
        };
        let target = target::find(&reader, named, namespace.as_deref(), &now.zone)?;
        filter.namespaces.clear();
        filter.objects.push(of_target(&target));
    }
    if args.follow {
        drop(reader);
        // The newest of the range, then new ones.
        return watch::follow(
            context,
            &Filter {
                until: None,
                ..filter
            },
            args.page.limit.min(10),
            Streamed::Changes,
        );
    }
    let request = args.page.request(filter);
    let page = reader.list(&request)?;
    let listing = Listing {
        name: "changes",
        what: "change",
        fields: &Field::COLUMNS,
        request: &request,
        page: &page,
    };
    listing.write(context, |rows| {
        table(rows, context.format, context.terminal, now.time)
    })
}

fn of_target(target: &target::Target) -> ObjectPattern {
    let (kind, object) = (&target.kind, &target.object);
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

fn table(rows: &[Row], format: Format, terminal: Terminal, now: Timestamp) -> Table {
    let is_wide = format == Format::Wide;
    let is_narrow = is_narrow(format, terminal);
    let mut columns = vec![Column::fixed("AGE")];
    if !is_narrow {
        columns.push(Column::shrinkable("NAMESPACE", 8));
    }
    columns.extend([
        Column::shrink_middle("OBJECT", 12),
        Column::shrinkable("WHAT", 16).with_weight(3),
        Column::shrinkable("BY", 8),
    ]);
    if is_wide {
        columns.insert(0, Column::fixed("ID"));
        columns.extend([Column::fixed("REASON"), Column::fixed("SEVERITY")]);
    }
    let mut table = Table::new(columns);
    for row in rows {
        let metadata = metadata(row);
        let namespace = row.object_namespace.as_deref();
        let name = object(&metadata, row);
        let name = if is_narrow {
            in_namespace(name, namespace)
        } else {
            name
        };
        let mut cells = vec![Cell::new(&age(row, &metadata, now))];
        if !is_narrow {
            cells.push(Cell::new(namespace.unwrap_or("-")));
        }
        cells.extend([
            Cell::new(&name),
            Cell::sentence(&what(&metadata, row)),
            Cell::new(&by(&metadata)),
        ]);
        if is_wide {
            cells.insert(0, Cell::new(&row.id));
            let reason = metadata
                .get("reason")
                .map(|reason| cell(reason).into_owned());
            cells.extend([
                Cell::new(&reason.unwrap_or_default()),
                Cell::severity(&row.severity),
            ]);
        }
        table.push(cells);
    }
    table
}

/// `Deployment/web`, `Rollout.argoproj.io/web`
pub(super) fn object(metadata: &Value, row: &Row) -> String {
    let group = metadata.get("api_group").and_then(Value::as_str);
    match (group, &row.object_kind, &row.object_name) {
        (Some(group), Some(kind), Some(name)) => {
            format!("{}/{name}", target::with_group(kind, group))
        }
        _ => event_table::object(row),
    }
}

/// `spec.replicas 2 → 5`, `deleted (scale-down)`, `31 changes: spec.replicas 2 → 9`
pub(super) fn what(metadata: &Value, row: &Row) -> String {
    let word = |key: &str| {
        metadata
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let mut text = match word("op") {
        "changed" => fields_text::of_row(metadata),
        "deleted" => match metadata.pointer("/cause/kind").and_then(Value::as_str) {
            Some(cause) => format!("deleted ({cause})"),
            None => "deleted".to_owned(),
        },
        "deleting" => "deletion waits for finalizers".to_owned(),
        op => op.to_owned(),
    };
    if text.is_empty() {
        text.clone_from(&row.title);
    }
    if let Some(changes) = metadata.get("changes").and_then(Value::as_u64) {
        text = format!("{changes} changes: {text}");
    }
    if let Some(objects) = metadata.get("objects").and_then(Value::as_array) {
        text.push_str(&format!(" ({} objects or more)", objects.len()));
    }
    text
}

/// Who made the change. A deletion does not say.
pub(super) fn by(metadata: &Value) -> String {
    let managers = metadata.get("by").and_then(Value::as_array);
    let mut names: Vec<&str> = managers
        .into_iter()
        .flatten()
        .filter_map(|by| by.get("manager")?.as_str())
        .collect();
    names.dedup();
    if names.is_empty() {
        let op = metadata.get("op").and_then(Value::as_str);
        let is_deletion = matches!(op, Some("deleted" | "deleting"));
        return if is_deletion { "-" } else { "unknown" }.to_owned();
    }
    names.join(", ")
}
