//! `story`: what happened to a workload.

use std::io::Write;

use super::Context;
use crate::answers::story::{self, Line, Phase, Story};
use crate::args::{Format, StoryArgs};
use crate::error::CliError;
use crate::output::{self, Stdout};
use crate::table::{Cell, Column, Table};
use crate::text::{counted, safe, safe_text, wrap};
use crate::time_arg::format_age;
use crate::zone::Zone;
use crate::{target, watchdog};

/// Lines without --all.
const LINES_MAX: usize = 30;
/// Characters of last words in a table.
const WORDS_MAX: usize = 400;

pub(super) fn run(context: &Context, args: &StoryArgs) -> Result<(), CliError> {
    let now = context.now();
    let range = args.range(&now)?;
    let reader = context.open()?;
    let target = target::of_args(&reader, &args.target, &now.zone)?;
    let mut story = story::story(&reader, &target, range, now.time)?;
    watchdog::restart();
    drop(reader);
    let all = story.lines.len();
    if !args.all {
        shorten(&mut story.lines);
    }
    let left_out = all - story.lines.len();
    let mut out = Stdout::lock();
    match context.format {
        Format::Json | Format::Yaml => {
            output::write_document(
                &mut out,
                context.format,
                &WithLeftOut {
                    story: &story,
                    lines_left_out: left_out,
                },
            )?;
        }
        Format::Md => markdown(&mut out, &story, left_out, &now.zone)?,
        _ => table(&mut out, context, &story, left_out, &now.zone)?,
    }
    out.finish()
}

#[derive(serde::Serialize)]
struct WithLeftOut<'s> {
    #[serde(flatten)]
    story: &'s Story,
    /// Lines that --all adds.
    lines_left_out: usize,
}

/// Keeps the lines that matter most, in their order.
fn shorten(lines: &mut Vec<Line>) {
    let mut ranks: Vec<u8> = lines.iter().map(|line| line.rank).collect();
    ranks.sort_unstable();
    let Some(limit) = ranks.get(LINES_MAX).copied() else {
        return;
    };
    let mut of_limit = LINES_MAX - ranks.iter().take_while(|rank| **rank < limit).count();
    lines.retain(|line| {
        if line.rank == limit {
            let is_kept = of_limit > 0;
            of_limit = of_limit.saturating_sub(1);
            is_kept
        } else {
            line.rank < limit
        }
    });
}

/// The sentences before the lines: label and text.
fn summary(story: &Story, zone: &Zone) -> Vec<(&'static str, String)> {
    let shown = |time: &str| zone.text(time).into_owned();
    let mut parts = vec![(
        "STORY",
        format!(
            "{}, {} to {} ({})",
            story.object,
            shown(&story.since),
            shown(&story.until),
            zone.name()
        ),
    )];
    match &story.failure {
        None => parts.push(("FAILURE", "none is recorded in this range".to_owned())),
        Some(failure) => {
            let lasted = format_age(std::time::Duration::from_secs(failure.seconds));
            let end = match &failure.over {
                Some(over) => format!("to {}, {lasted}", shown(over)),
                None => format!("not over, {lasted} so far"),
            };
            let pods = match failure.pods {
                0 => String::new(),
                pods => format!(", {}", counted(pods as u64, "pod")),
            };
            parts.push((
                "FAILURE",
                format!(
                    "from {} {end}{pods}: {}",
                    shown(&failure.onset),
                    failure.title
                ),
            ));
            parts.push(("FINDINGS", failure.findings.join(", ")));
        }
    }
    for outage in &story.impact {
        let lasted = format_age(std::time::Duration::from_secs(outage.seconds));
        let end = match &outage.until {
            Some(until) => format!("to {}, {lasted}", shown(until)),
            None => format!("not over, {lasted} so far"),
        };
        parts.push((
            "IMPACT",
            format!(
                "{} had no ready pod from {} {end}",
                outage.object,
                shown(&outage.since)
            ),
        ));
    }
    for words in &story.last_words {
        let container = words
            .container
            .as_ref()
            .map_or_else(String::new, |name| format!(", container {name}"));
        let text: String = words.text.chars().take(WORDS_MAX).collect();
        let more = if text.len() < words.text.len() {
            "…"
        } else {
            ""
        };
        parts.push((
            "LAST WORDS",
            format!("{}{container}: {text}{more}", words.pod),
        ));
    }
    if story.failure.is_some() {
        for (n, suspect) in story.suspects.iter().enumerate() {
            parts.push((
                "SUSPECT",
                format!(
                    "{}. {} {}: {}, by {}. Score {:.2}: {}.",
                    n + 1,
                    shown(&suspect.at),
                    suspect.object,
                    suspect.what,
                    match &*suspect.by {
                        "-" => "unknown",
                        by => by,
                    },
                    suspect.score,
                    suspect
                        .reasons
                        .iter()
                        .map(|reason| zone.text(reason).into_owned())
                        .collect::<Vec<_>>()
                        .join("; ")
                ),
            ));
        }
        if let Some(note) = &story.suspects_note {
            parts.push(("SUSPECTS", shown(note)));
        }
    }
    parts
}

fn not_complete(story: &Story, left_out: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if left_out > 0 {
        notes.push(format!(
            "{} left out; --all prints them",
            counted(left_out as u64, "line")
        ));
    }
    if story.is_cut {
        notes.push(
            "the range has more rows than a story reads; narrow it with --since and --until"
                .to_owned(),
        );
    }
    notes.push(format!("kube9 does not see: {}", story.not_seen.join(", ")));
    notes
}

fn table(
    out: &mut Stdout,
    context: &Context,
    story: &Story,
    left_out: usize,
    zone: &Zone,
) -> Result<(), CliError> {
    const LABEL: usize = 12;
    let columns = context.terminal.columns.unwrap_or(140);
    for (label, text) in summary(story, zone) {
        let lines = wrap(&safe_text(&text), columns.saturating_sub(LABEL).max(20));
        for (n, line) in lines.iter().enumerate() {
            let label = if n == 0 { label } else { "" };
            writeln!(out, "{label:LABEL$}{line}")?;
        }
    }
    writeln!(out)?;
    let heading = format!("TIME ({})", zone.name());
    let mut table = Table::new(vec![
        Column::fixed(&heading),
        Column::fixed("PHASE"),
        Column::shrink_middle("OBJECT", 12),
        Column::shrinkable("WHAT", 20).with_weight(3),
        Column::shrinkable("BY", 6),
    ]);
    for line in &story.lines {
        table.push(vec![
            Cell::new(&time(line, zone)),
            Cell::new(line.phase.as_str()),
            Cell::new(&line.object),
            Cell::sentence(&text(line, zone)),
            Cell::new(line.by.as_deref().unwrap_or("-")),
        ]);
    }
    if !story.lines.is_empty() {
        table.write(out, context.terminal)?;
        writeln!(out)?;
    }
    for note in not_complete(story, left_out) {
        writeln!(out, "{}", safe(&note))?;
    }
    Ok(())
}

fn time(line: &Line, zone: &Zone) -> String {
    kube9_model::time::Timestamp::parse(&line.at)
        .map_or_else(|_| line.at.clone(), |at| zone.seconds(at))
}

/// With what the columns do not show.
fn text(line: &Line, zone: &Zone) -> String {
    let mut text = line.text.clone();
    if line.rows > 1 {
        text.push_str(&format!(" ({} times)", line.rows));
    }
    if let Some(until) = line.until.as_deref().filter(|_| is_lasting(line)) {
        text.push_str(&format!(", until {}", zone.text(until)));
    }
    text
}

/// Whether the end of a line matters: Events repeat, failures and gaps last.
fn is_lasting(line: &Line) -> bool {
    line.is_finding || line.phase == Phase::Gap
}

fn markdown(out: &mut Stdout, story: &Story, left_out: usize, zone: &Zone) -> Result<(), CliError> {
    writeln!(out, "# {}\n", inline(&story.object))?;
    for (label, text) in summary(story, zone) {
        writeln!(out, "- **{}** {}", label.to_lowercase(), inline(&text))?;
    }
    writeln!(
        out,
        "\n| time ({}) | phase | object | what | by |\n|---|---|---|---|---|",
        inline(zone.name())
    )?;
    for line in &story.lines {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            time(line, zone),
            line.phase.as_str(),
            inline(&line.object),
            inline(&text(line, zone)),
            inline(line.by.as_deref().unwrap_or("-"))
        )?;
    }
    writeln!(out)?;
    for note in not_complete(story, left_out) {
        writeln!(out, "{}\n", inline(&note))?;
    }
    Ok(())
}

/// Text of a cluster must not become markup or end a cell.
fn inline(text: &str) -> String {
    let mut shown = String::new();
    for c in safe_text(text).chars() {
        match c {
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '#' | '|' | '!' | '~'
            | '&' => {
                shown.push('\\');
                shown.push(c);
            }
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_cluster_is_no_markup() {
        assert_eq!(
            inline("<img src=x> | [a](b) *x* `y`\n# z"),
            "\\<img src=x\\> \\| \\[a\\](b) \\*x\\* \\`y\\`\\\\n\\# z"
        );
    }
}
