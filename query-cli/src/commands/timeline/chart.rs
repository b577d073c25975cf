//! The timeline as a chart of characters: one column for each bucket.

use kube9_db::read::{Marker, MarkerKind};
use kube9_model::Severity;
use kube9_model::time::Timestamp;

use super::{Answer, LABEL_WIDTH, Recovery};
use crate::terminal::Terminal;
use crate::text::{fit, grouped, safe, width};
use crate::time_arg::format_age;

/// Width of the counts at the right: total and maximum of a line.
const COUNTS_WIDTH: usize = 16;
/// Columns if stdout is not a terminal.
const COLUMNS_DEFAULT: usize = 100;
const COLUMNS_MAX: usize = 240;
/// Height of a bar in lines.
const BAR_HEIGHT: u64 = 2;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const CHANGE: char = '▲';
/// Time with missing events, and time whose events were recovered.
const MISSING: char = '░';
const RECOVERED: char = '·';
/// Intervals of the labels of the axis, in minutes.
const TICK_MINUTES: [i64; 17] = [
    1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 360, 720, 1_440, 2_880, 10_080, 20_160, 43_200,
];

/// Number of buckets that fit.
pub(super) fn columns(terminal: Terminal) -> usize {
    terminal
        .columns
        .unwrap_or(COLUMNS_DEFAULT)
        .min(COLUMNS_MAX)
        .saturating_sub(LABEL_WIDTH + COUNTS_WIDTH)
        .max(10)
}

/// The lines of the chart.
pub(super) fn render(answer: &Answer, terminal: Terminal) -> Vec<String> {
    let coverage = coverage(answer);
    let mut lines = vec![heading(answer, terminal)];
    lines.extend(bars(answer, &coverage, terminal));
    lines.extend(axis(answer, terminal));
    lines.extend(markers(answer, &coverage, terminal));
    lines
}

fn heading(answer: &Answer, terminal: Terminal) -> String {
    let request = &answer.request;
    let bucket = format_age(std::time::Duration::from_millis(
        u64::try_from(request.bucket_ms).unwrap_or(0),
    ));
    let shown = |time| answer.zone.shown(time).to_string();
    let (from, to) = (shown(request.from), shown(request.to));
    let end = if from[..10] == to[..10] {
        to[11..16].to_owned()
    } else {
        to[..16].replace('T', " ")
    };
    let total: u64 = answer.timeline.buckets.iter().flatten().sum();
    let events = if total == 1 { "event" } else { "events" };
    let line = format!(
        "{} to {end} {}, {} {events}, {bucket} per column",
        from[..16].replace('T', " "),
        safe(answer.zone.name()),
        grouped(total)
    );
    let (bold, reset) = terminal.bold();
    let available = terminal.columns.unwrap_or(usize::MAX);
    format!("{bold}{}{reset}", fit(&line, available))
}

/// Completeness of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Coverage {
    Complete,
    Recovered,
    Missing,
}

fn coverage(answer: &Answer) -> Vec<Coverage> {
    let request = &answer.request;
    let buckets = answer.timeline.buckets.len();
    let mut coverage = vec![Coverage::Complete; buckets];
    let mut fill = |from: Timestamp, to: Option<Timestamp>, state: Coverage| {
        // An end on the boundary of two columns belongs to the first.
        let first = (from.millis() - request.from.millis()).div_euclid(request.bucket_ms);
        let last = to.map_or(i64::MAX, |to| {
            (to.millis() - 1 - request.from.millis()).div_euclid(request.bucket_ms)
        });
        for (at, column) in (0_i64..).zip(coverage.iter_mut()) {
            if (first..=last.max(first)).contains(&at) {
                *column = (*column).max(state);
            }
        }
    };
    for gap in answer.gaps() {
        let state = match Recovery::of(gap) {
            Recovery::Complete => Coverage::Recovered,
            Recovery::Partial | Recovery::None => Coverage::Missing,
        };
        fill(gap.from, gap.to, state);
    }
    if let Some(since) = answer.recorder_down_since {
        fill(since, Some(answer.now), Coverage::Missing);
    }
    if let Some(start) = answer.record_start {
        fill(request.from, Some(start), Coverage::Missing);
    }
    coverage
}

/// Two lines for each severity, with missing time marked: no bar there does not mean that nothing happened.
fn bars(answer: &Answer, coverage: &[Coverage], terminal: Terminal) -> Vec<String> {
    let timeline = &answer.timeline;
    let mut lines = Vec::new();
    let (dim, reset) = terminal.dim();
    for (i, severity) in severities() {
        let counts: Vec<u64> = timeline.buckets.iter().map(|bucket| bucket[i]).collect();
        let (sum, most) = (
            counts.iter().sum::<u64>(),
            counts.iter().copied().max().unwrap_or(0),
        );
        if sum == 0 {
            continue;
        }
        if lines.is_empty() {
            let columns = LABEL_WIDTH + timeline.buckets.len();
            lines.push(format!(
                "{:columns$}{dim}{:>8}{:>7}{reset}",
                "", "total", "max"
            ));
        }
        let (begin, end) = (
            terminal.severity_start(severity),
            terminal.severity_end(severity),
        );
        for line in (0..BAR_HEIGHT).rev() {
            let row = bar(&counts, most, line, coverage);
            let row = paint(&row, (begin, end), (dim, reset));
            if line > 0 {
                lines.push(format!("{:LABEL_WIDTH$}{row}", ""));
            } else {
                lines.push(format!(
                    "{begin}{severity:LABEL_WIDTH$}{end}{row}{:>8}{:>7}",
                    grouped(sum),
                    grouped(most)
                ));
            }
        }
    }
    if lines.is_empty() {
        lines.push(format!("{:LABEL_WIDTH$}no events", ""));
    }
    lines
}

/// One line of bars: the maximum has full height, and every count above zero is visible.
fn bar(counts: &[u64], most: u64, line: u64, coverage: &[Coverage]) -> String {
    let steps = BAR_HEIGHT * LEVELS.len() as u64;
    let cell = |(&count, state): (&u64, &Coverage)| {
        let step = (count * steps).div_ceil(most.max(1));
        match (step.saturating_sub(line * 8).min(8), state) {
            (0, Coverage::Missing) if step == 0 && line == 0 => MISSING,
            (0, _) => ' ',
            (level, _) => LEVELS[usize::try_from(level).unwrap_or(8) - 1],
        }
    };
    counts.iter().zip(coverage).map(cell).collect()
}

/// Colors a line: `missing` around missing time, `bars` around the rest.
fn paint(row: &str, bars: (&str, &str), missing: (&str, &str)) -> String {
    let mut out = String::new();
    let mut rest = row;
    while let Some(c) = rest.chars().next() {
        let is_missing = c == MISSING;
        let end = rest
            .find(|c: char| (c == MISSING) != is_missing)
            .unwrap_or(rest.len());
        let (begin, plain) = if is_missing { missing } else { bars };
        let part = &rest[..end];
        if part.trim().is_empty() {
            out.push_str(part);
        } else {
            out.extend([begin, part, plain]);
        }
        rest = &rest[end..];
    }
    out
}

/// The axis: a line with ticks at round times, and their labels.
fn axis(answer: &Answer, terminal: Terminal) -> [String; 2] {
    let request = &answer.request;
    let buckets = answer.timeline.buckets.len();
    let span = request.to.millis() - request.from.millis();
    let shown = |time| answer.zone.shown(time);
    let is_day = span <= 86_400_000
        && shown(request.from).to_string()[..10] == shown(answer.until).to_string()[..10];
    // The widest label and two columns between.
    let apart = if is_day { 5 + 3 } else { 11 + 3 };
    let tick_ms = TICK_MINUTES
        .iter()
        .map(|minutes| minutes * 60_000)
        .find(|tick| tick % request.bucket_ms == 0 && tick / request.bucket_ms >= apart)
        .unwrap_or(request.bucket_ms * (apart + 1));
    let (mut line, mut times) = (String::new(), " ".repeat(LABEL_WIDTH));
    for column in 0..buckets {
        let at = request.from.millis() + column as i64 * request.bucket_ms;
        let at = shown(Timestamp::from_millis(at));
        let is_tick = at.millis().rem_euclid(tick_ms) == 0;
        line.push(if is_tick { '┬' } else { '─' });
        if !is_tick {
            continue;
        }
        let time = at.to_string();
        let text = match (is_day, tick_ms < 86_400_000) {
            (true, _) if tick_ms < 60_000 => time[11..19].to_owned(),
            (true, _) => time[11..16].to_owned(),
            (false, true) => time[5..16].replace('T', " "),
            (false, false) => time[..10].to_owned(),
        };
        let start = LABEL_WIDTH + column;
        if width(&times) + usize::from(width(&times) > LABEL_WIDTH) <= start
            && column + width(&text) <= buckets + COUNTS_WIDTH
        {
            times.extend(std::iter::repeat_n(' ', start - width(&times)));
            times.push_str(&text);
        }
    }
    let (dim, reset) = terminal.dim();
    [
        format!("{:LABEL_WIDTH$}{dim}{line}{reset}", ""),
        format!("{dim}{}{reset}", times.trim_end()),
    ]
}

/// Lines that mark changes and gaps.
fn markers(answer: &Answer, coverage: &[Coverage], terminal: Terminal) -> Vec<String> {
    let request = &answer.request;
    let mut changes = vec![' '; coverage.len()];
    for marker in answer.changes() {
        let at = (marker.from.millis() - request.from.millis()).div_euclid(request.bucket_ms);
        if let Some(column) = usize::try_from(at).ok().and_then(|at| changes.get_mut(at)) {
            *column = CHANGE;
        }
    }
    let gaps: Vec<char> = coverage
        .iter()
        .map(|state| match state {
            Coverage::Complete => ' ',
            Coverage::Recovered => RECOVERED,
            Coverage::Missing => MISSING,
        })
        .collect();
    let mut lines = Vec::new();
    for (label, symbols, (begin, end)) in [
        ("changes", changes, terminal.cyan()),
        (
            "gaps",
            gaps,
            (
                terminal.severity_start("warning"),
                terminal.severity_end("warning"),
            ),
        ),
    ] {
        let symbols: String = symbols.into_iter().collect();
        if !symbols.trim().is_empty() {
            lines.push(format!(
                "{label:LABEL_WIDTH$}{begin}{}{end}",
                symbols.trim_end()
            ));
        }
    }
    lines
}

impl Answer {
    pub(super) fn changes(&self) -> impl Iterator<Item = &Marker> {
        self.of(MarkerKind::Change)
    }

    pub(super) fn gaps(&self) -> impl Iterator<Item = &Marker> {
        self.of(MarkerKind::Gap)
    }
}

/// Severities, worst first, with the index of their counts.
fn severities() -> impl Iterator<Item = (usize, &'static str)> {
    Severity::ALL
        .iter()
        .enumerate()
        .rev()
        .map(|(i, severity)| (i, severity.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_every_count_above_zero_is_visible() {
        let coverage = [
            Coverage::Complete,
            Coverage::Complete,
            Coverage::Complete,
            Coverage::Complete,
            Coverage::Missing,
        ];
        let counts = [0, 1, 1000, 500, 0];
        assert_eq!(bar(&counts, 1000, 1, &coverage), "  █  ");
        assert_eq!(bar(&counts, 1000, 0, &coverage), " ▁██░");
        assert_eq!(bar(&[0, 0], 0, 0, &coverage), "  ");
    }
}
