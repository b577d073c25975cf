//! `events get`: one event.

use std::io::Write;

use kube9_db::read::Row;
use kube9_model::time::Timestamp;
use serde_json::Value;

use super::{Context, rows};
use crate::args::Format;
use crate::failure::Failure;
use crate::output::{self, Event, Form, Out, cell};
use crate::screen::Screen;
use crate::text::{safe, safe_text, width, wrap};

pub(super) fn run(context: &Context, id: &str) -> Result<(), Failure> {
    let row = context
        .open()?
        .get(id)?
        .ok_or_else(|| Failure::NotFound(format!("event {id}")))?;
    let mut out = Out::stdout();
    match context.format {
        Format::Json => output::write_json(&mut out, &Event::whole(&row, Form::Json))?,
        Format::Yaml => output::write_yaml(&mut out, &Event::whole(&row, Form::Yaml))?,
        _ => write_sheet(&mut out, &row, context.screen)?,
    }
    out.finish()
}

/// One line a fact.
fn write_sheet(out: &mut impl Write, row: &Row, screen: Screen) -> Result<(), Failure> {
    let metadata = output::metadata(row);
    let mut lines: Vec<(String, String)> = vec![
        ("id".into(), row.id.clone()),
        (
            "created_at".into(),
            format!(
                "{} ({} ago)",
                row.created_at,
                rows::age(row, &Value::Null, Timestamp::now())
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
                .map(|(key, value)| (key.clone(), cell(value).into_owned())),
        ),
        other => lines.push(("metadata".into(), cell(other).into_owned())),
    }
    let label = lines
        .iter()
        .map(|(name, _)| width(&safe(name)))
        .max()
        .unwrap_or(0);
    let room = screen.columns.map_or(usize::MAX, |columns| {
        columns.saturating_sub(label + 2).max(20)
    });
    let (strong, plain) = screen.strong();
    for (name, value) in &lines {
        let (begin, end) = if name == "severity" {
            (screen.begin(value), screen.end(value))
        } else {
            ("", "")
        };
        let value = match name.as_str() {
            "title" | "description" => safe_text(value),
            _ => safe(value),
        };
        for (i, part) in wrap(&value, room).iter().enumerate() {
            let name = if i == 0 { safe(name) } else { String::new() };
            let padding = " ".repeat(label - width(&name));
            let line = format!("{strong}{name}{plain}{padding}  {begin}{part}{end}");
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    Ok(())
}
