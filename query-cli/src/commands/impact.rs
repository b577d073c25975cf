//! `impact`: what depends on an object.

use std::io::Write;

use super::Context;
use super::object::past;
use crate::answers::impact::{self, Hit, Impact};
use crate::args::{Format, ImpactArgs};
use crate::error::CliError;
use crate::output::{self, Stdout};
use crate::table::{Cell, Column, Table};
use crate::text::{counted, safe};
use crate::{target, watchdog};

pub(super) fn run(context: &Context, args: &ImpactArgs) -> Result<(), CliError> {
    let now = context.now();
    let at = past("--at", args.at, &now)?;
    let reader = context.open()?;
    let target = target::of_args(&reader, &args.target, &now.zone)?;
    super::object::exists(&reader, &target, at, &now.zone)?;
    let impact = impact::impact(&reader, &target, at)?;
    watchdog::restart();
    drop(reader);
    let mut out = Stdout::lock();
    match context.format {
        Format::Json | Format::Yaml => {
            output::write_document(&mut out, context.format, &impact)?;
        }
        _ => table(&mut out, context, &impact, &now.zone.rfc3339(at))?,
    }
    out.finish()
}

fn table(out: &mut Stdout, context: &Context, impact: &Impact, at: &str) -> Result<(), CliError> {
    let pods = match impact.pods {
        0 => String::new(),
        pods => format!(": {}", counted(pods as u64, "pod")),
    };
    writeln!(out, "{} at {at}{pods}", safe(&impact.object))?;
    let mut table = Table::new(vec![
        Column::shrink_middle("DEPENDS ON IT", 16),
        Column::fixed("PODS"),
        Column::shrinkable("WHY", 20),
    ]);
    let all = impact.workloads.iter().chain(&impact.services);
    let mut is_empty = impact.ingresses.is_empty();
    for hit in all {
        is_empty = false;
        table.push(vec![
            Cell::new(&hit.object),
            Cell::new(&format!("{} of {}", hit.pods_hit, hit.pods)),
            Cell::sentence(&why(hit)),
        ]);
    }
    for ingress in &impact.ingresses {
        table.push(vec![
            Cell::new(&ingress.object),
            Cell::new("-"),
            Cell::sentence(&ingress.because),
        ]);
    }
    if is_empty {
        writeln!(out, "nothing that is recorded depends on it")?;
    } else {
        writeln!(out)?;
        table.write(out, context.terminal)?;
    }
    if !impact.not_recorded.is_empty() {
        writeln!(out, "\nnot recorded: {}", impact.not_recorded.join(", "))?;
    }
    Ok(())
}

fn why(hit: &Hit) -> String {
    let left = if hit.has_none_left() {
        "; no pod left"
    } else {
        ""
    };
    format!("{}{left}", hit.because)
}
