//! The timeline as a picture of characters: one screen, one column a bucket.

use kube9_shared::read::{Mark, MarkKind, Row, Timeline, TimelineRequest};
use kube9_shared::time::Timestamp;

use crate::moment::short;
use crate::screen::Screen;
use crate::text::{fit, grouped, safe, width};

/// Columns before the chart, and after it for the counts.
const LABEL: usize = 10;
const COUNTS: usize = 10;
/// Off a terminal.
const COLUMNS_USUAL: usize = 100;
const COLUMNS_MAX: usize = 240;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns from one time under the axis to the next.
const TICK: usize = 15;
/// Lines that tell changes or gaps; more would not leave room for the chart.
const LINES: usize = 5;

/// Buckets that fit.
pub(super) fn columns(screen: Screen) -> usize {
    screen
        .columns
        .unwrap_or(COLUMNS_USUAL)
        .min(COLUMNS_MAX)
        .saturating_sub(LABEL + COUNTS)
        .max(10)
}

/// The lines of the picture.
pub(super) fn draw(
    timeline: &Timeline,
    request: &TimelineRequest,
    screen: Screen,
    now: Timestamp,
) -> Vec<String> {
    let total: u64 = timeline.buckets.iter().flatten().sum();
    let mut lines = vec![heading(request, total)];
    for (i, severity) in super::severities() {
        let counts: Vec<u64> = timeline.buckets.iter().map(|bucket| bucket[i]).collect();
        let sum: u64 = counts.iter().sum();
        if sum > 0 {
            let bars = sparkline(&counts);
            let (begin, end) = (screen.begin(severity), screen.end(severity));
            lines.push(format!(
                "{severity:LABEL$}{begin}{bars}{end}  {}",
                grouped(sum)
            ));
        }
    }
    lines.extend(axis(request, timeline.buckets.len()));
    for (kind, label, sign) in [
        (MarkKind::Change, "changes", '▲'),
        (MarkKind::Gap, "gaps", '░'),
    ] {
        let marks: Vec<&Mark> = timeline
            .marks
            .iter()
            .filter(|mark| mark.kind == kind)
            .collect();
        if !marks.is_empty() {
            lines.push(format!(
                "{label:LABEL$}{}",
                signs(&marks, request, timeline.buckets.len(), sign)
            ));
        }
    }
    lines.extend(story(timeline, now));
    let columns = screen.columns.unwrap_or(usize::MAX);
    lines
        .into_iter()
        .map(|line| {
            if line.contains('\u{1b}') {
                line
            } else {
                fit(&line, columns)
            }
        })
        .collect()
}

fn heading(request: &TimelineRequest, total: u64) -> String {
    let bucket = short(std::time::Duration::from_millis(
        u64::try_from(request.bucket_ms).unwrap_or(0),
    ));
    format!(
        "{} to {} UTC, {} events, a column is {bucket}",
        minute(request.from),
        minute(request.to),
        grouped(total)
    )
}

/// 2025-12-02 10:30
fn minute(time: Timestamp) -> String {
    time.to_string()[..16].replace('T', " ")
}

/// 10:30:45
fn clock(time: Timestamp) -> String {
    time.to_string()[11..19].to_owned()
}

/// The greatest count is a full column, every count above zero is seen.
fn sparkline(counts: &[u64]) -> String {
    let greatest = counts.iter().copied().max().unwrap_or(0).max(1);
    counts
        .iter()
        .map(|&count| match count {
            0 => ' ',
            count => {
                LEVELS[usize::try_from((count * 8).div_ceil(greatest))
                    .unwrap_or(8)
                    .clamp(1, 8)
                    - 1]
            }
        })
        .collect()
}

fn axis(request: &TimelineRequest, buckets: usize) -> [String; 2] {
    let (mut line, mut times) = (" ".repeat(LABEL), " ".repeat(LABEL));
    let days = (request.to.millis() - request.from.millis()) / 86_400_000;
    for column in 0..buckets {
        line.push(if column % TICK == 0 { '├' } else { '─' });
        if column % TICK == 0 {
            let time =
                Timestamp::from_millis(request.from.millis() + column as i64 * request.bucket_ms)
                    .to_string();
            let text = match days {
                0 => time[11..16].to_owned(),
                1..=27 => time[5..16].replace('T', " "),
                _ => time[..10].to_owned(),
            };
            let at = LABEL + column;
            times.extend(std::iter::repeat_n(' ', at.saturating_sub(width(&times))));
            if column + width(&text) <= buckets + COUNTS {
                times.push_str(&text);
            }
        }
    }
    [line, times.trim_end().to_owned()]
}

/// A sign in every column that a mark touches.
fn signs(marks: &[&Mark], request: &TimelineRequest, buckets: usize, sign: char) -> String {
    let column =
        |time: Timestamp| (time.millis() - request.from.millis()).div_euclid(request.bucket_ms);
    let line: String = (0..buckets as i64)
        .map(|at| {
            let touched = marks.iter().any(|mark| {
                column(mark.from).max(0) <= at && mark.to.is_none_or(|to| at <= column(to))
            });
            if touched { sign } else { ' ' }
        })
        .collect();
    line.trim_end().to_owned()
}

/// What the picture cannot say: the first event, what changed before it, and the gaps.
fn story(timeline: &Timeline, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    let began = timeline.first.as_ref().and_then(|row| {
        Timestamp::parse(&row.created_at)
            .ok()
            .map(|time| (row, time))
    });
    if let Some((row, time)) = began {
        lines.push(String::new());
        lines.push(format!(
            "began     {} ({} ago)  {}",
            clock(time),
            short(now.since(time)),
            brief(row)
        ));
    }
    let changes: Vec<&Mark> = timeline
        .marks
        .iter()
        .filter(|mark| mark.kind == MarkKind::Change)
        .collect();
    if changes.len() > LINES {
        lines.push(format!(
            "          {} earlier changes",
            changes.len() - LINES
        ));
    }
    for mark in changes.iter().skip(changes.len().saturating_sub(LINES)) {
        let distance = match began {
            Some((_, time)) if mark.from <= time => {
                format!(" ({} before)", short(time.since(mark.from)))
            }
            _ => String::new(),
        };
        lines.push(format!(
            "changed   {}{distance}  {}",
            clock(mark.from),
            brief(&mark.row)
        ));
    }
    let gaps: Vec<&Mark> = timeline
        .marks
        .iter()
        .filter(|mark| mark.kind == MarkKind::Gap)
        .collect();
    if gaps.len() > LINES {
        lines.push(format!("          {} earlier gaps", gaps.len() - LINES));
    }
    for mark in gaps.iter().skip(gaps.len().saturating_sub(LINES)) {
        let (end, blind) = match mark.to {
            Some(to) => (clock(to), short(to.since(mark.from))),
            None => (
                "now".to_owned(),
                format!("{}, still open", short(now.since(mark.from))),
            ),
        };
        lines.push(format!(
            "gap       {} to {end} ({blind})  {}",
            clock(mark.from),
            brief(&mark.row)
        ));
    }
    if timeline.marks_left_out > 0 {
        lines.push(format!(
            "          {} older changes or gaps are left out",
            timeline.marks_left_out
        ));
    }
    lines
}

/// `Pod/web-1 in shop: Back-off restarting…`
fn brief(row: &Row) -> String {
    let object = match (&row.object_kind, &row.object_name) {
        (Some(kind), Some(name)) => format!("{kind}/{name}"),
        _ => String::new(),
    };
    let place = row
        .object_namespace
        .as_ref()
        .map(|namespace| format!(" in {namespace}"))
        .unwrap_or_default();
    let text = row
        .description
        .as_deref()
        .filter(|text| !text.is_empty())
        .unwrap_or(&row.title);
    let colon = if object.is_empty() { "" } else { ": " };
    safe(&format!("{object}{place}{colon}{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_above_zero_is_seen() {
        assert_eq!(sparkline(&[0, 1, 1000, 500]), " ▁█▄");
        assert_eq!(sparkline(&[0, 0]), "  ");
    }
}
