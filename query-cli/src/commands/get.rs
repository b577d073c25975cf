//! `events get`: shows one event.

use std::io::Write;

use kube9_db::read::Row;
use kube9_model::time::Timestamp;
use serde_json::Value;

use super::{Context, event_table};
use crate::args::Format;
use crate::error::CliError;
use crate::output::{self, Event, MetadataEncoding, Stdout, cell};
use crate::text::{safe, safe_text, width, wrap};

pub(super) fn run(context: &Context, id: &str) -> Result<(), CliError> {
    let row = context
        .open()?
        .get(id)?
        .ok_or_else(|| CliError::NotFound(format!("event {id}")))?;
    let mut out = Stdout::lock();
    match context.format {
        Format::Json => output::write_json(&mut out, &Event::whole(&row, MetadataEncoding::Json))?,
        Format::Yaml => output::write_yaml(&mut out, &Event::whole(&row, MetadataEncoding::Yaml))?,
        _ => write_fields(&mut out, &row, context)?,
    }
    out.finish()
}

/// One line for each column and metadata key.
fn write_fields(out: &mut impl Write, row: &Row, context: &Context) -> Result<(), CliError> {
    let (terminal, zone) = (context.terminal, &context.options.tz);
    let metadata = output::metadata(row);
    let mut lines: Vec<(String, String)> = vec![
        ("id".into(), row.id.clone()),
        (
            "created_at".into(),
            format!(
                "{} ({} ago)",
                zone.text(&row.created_at),
                event_table::age(row, &Value::Null, Timestamp::now())
            ),
        ),
        ("event_type".into(), row.event_type.clone()),
        ("severity".into(), row.severity.clone()),
    ];
    for (name, value) in [
        ("object_kind", &row.object_kind),
        ("object_namespace", &row.object_namespace),
        ("object_name", &row.object_name),
    ] {
        if let Some(value) = value {
            lines.push((name.into(), value.clone()));
        }
    }
    lines.push(("title".into(), row.title.clone()));
    lines.extend(
        row.description
            .iter()
            .map(|text| ("description".into(), text.clone())),
    );
    match &metadata {
        Value::Object(map) => lines.extend(
            map.iter()
                .map(|(key, value)| (key.clone(), zone.text(&cell(value)).into_owned())),
        ),
        other => lines.push(("metadata".into(), cell(other).into_owned())),
    }
    let label = lines
        .iter()
        .map(|(name, _)| width(&safe(name)))
        .max()
        .unwrap_or(0);
    let available = terminal.columns.map_or(usize::MAX, |columns| {
        columns.saturating_sub(label + 2).max(20)
    });
    let (bold, reset) = terminal.bold();
    for (name, value) in &lines {
        let (begin, end) = if name == "severity" {
            (terminal.severity_start(value), terminal.severity_end(value))
        } else {
            ("", "")
        };
        let value = match name.as_str() {
            "title" | "description" => safe_text(value),
            _ => safe(value),
        };
        for (i, part) in wrap(&value, available).iter().enumerate() {
            let name = if i == 0 { safe(name) } else { String::new() };
            let padding = " ".repeat(label - width(&name));
            let line = format!("{bold}{name}{reset}{padding}  {begin}{part}{end}");
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    Ok(())
}
