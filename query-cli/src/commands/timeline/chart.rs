//! The timeline as a picture of characters: one screen, one column a bucket.

use kube9_db::read::{Marker, MarkerKind};
use kube9_model::Severity;
use kube9_model::time::Timestamp;

use super::{Answer, Healed, LABEL};
use crate::moment::short;
use crate::screen::Screen;
use crate::text::{fit, grouped, width};

/// Columns after it: total and greatest count of a line.
const COUNTS: usize = 16;
/// Off a terminal.
const COLUMNS_USUAL: usize = 100;
const COLUMNS_MAX: usize = 240;
/// Lines that a bar takes.
const HEIGHT: u64 = 2;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const CHANGE: char = '▲';
/// Where something is missing, and where it was brought back.
const HOLE: char = '░';
const HEALED: char = '·';
/// From one time under the axis to the next, in minutes.
const TICKS: [i64; 17] = [
    1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 360, 720, 1_440, 2_880, 10_080, 20_160, 43_200,
];

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
pub(super) fn draw(answer: &Answer, screen: Screen) -> Vec<String> {
    let holes = holes(answer);
    let mut lines = vec![heading(answer, screen)];
    lines.extend(bars(answer, &holes, screen));
    lines.extend(axis(answer, screen));
    lines.extend(signs(answer, &holes, screen));
    lines
}

fn heading(answer: &Answer, screen: Screen) -> String {
    let request = &answer.request;
    let bucket = short(std::time::Duration::from_millis(
        u64::try_from(request.bucket_ms).unwrap_or(0),
    ));
    let (from, to) = (request.from.to_string(), request.to.to_string());
    let end = if from[..10] == to[..10] {
        to[11..16].to_owned()
    } else {
        to[..16].replace('T', " ")
    };
    let total: u64 = answer.timeline.buckets.iter().flatten().sum();
    let events = if total == 1 { "event" } else { "events" };
    let line = format!(
        "{} to {end} UTC, {} {events}, a column is {bucket}",
        from[..16].replace('T', " "),
        grouped(total)
    );
    let (begin, end) = screen.strong();
    let room = screen.columns.unwrap_or(usize::MAX);
    format!("{begin}{}{end}", fit(&line, room))
}

/// What is missing in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hole {
    None,
    Healed,
    Open,
}

fn holes(answer: &Answer) -> Vec<Hole> {
    let request = &answer.request;
    let buckets = answer.timeline.buckets.len();
    let mut holes = vec![Hole::None; buckets];
    let mut fill = |from: Timestamp, to: Option<Timestamp>, hole: Hole| {
        // An end at the edge of two columns belongs to the first one.
        let first = (from.millis() - request.from.millis()).div_euclid(request.bucket_ms);
        let last = to.map_or(i64::MAX, |to| {
            (to.millis() - 1 - request.from.millis()).div_euclid(request.bucket_ms)
        });
        for (at, column) in (0_i64..).zip(holes.iter_mut()) {
            if (first..=last.max(first)).contains(&at) {
                *column = (*column).max(hole);
            }
        }
    };
    for gap in answer.gaps() {
        let hole = match Healed::of(gap) {
            Healed::Yes => Hole::Healed,
            Healed::Partly | Healed::No => Hole::Open,
        };
        fill(gap.from, gap.to, hole);
    }
    if let Some(silent) = answer.silent_since {
        fill(silent, Some(answer.now), Hole::Open);
    }
    if let Some(begins) = answer.record_begins {
        fill(request.from, Some(begins), Hole::Open);
    }
    holes
}

/// Two lines a severity; a hole is seen in them, since nothing there does not mean that nothing happened.
fn bars(answer: &Answer, holes: &[Hole], screen: Screen) -> Vec<String> {
    let timeline = &answer.timeline;
    let mut lines = Vec::new();
    let (faint, plain) = screen.faint();
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
            let columns = LABEL + timeline.buckets.len();
            lines.push(format!(
                "{:columns$}{faint}{:>8}{:>7}{plain}",
                "", "total", "most"
            ));
        }
        let (begin, end) = (screen.begin(severity), screen.end(severity));
        for line in (0..HEIGHT).rev() {
            let row = bar(&counts, most, line, holes);
            let row = painted(&row, (begin, end), (faint, plain));
            if line > 0 {
                lines.push(format!("{:LABEL$}{row}", ""));
            } else {
                lines.push(format!(
                    "{begin}{severity:LABEL$}{end}{row}{:>8}{:>7}",
                    grouped(sum),
                    grouped(most)
                ));
            }
        }
    }
    if lines.is_empty() {
        lines.push(format!("{:LABEL$}no events", ""));
    }
    lines
}

/// One line of bars: the greatest count is full, every count above zero is seen.
fn bar(counts: &[u64], most: u64, line: u64, holes: &[Hole]) -> String {
    let steps = HEIGHT * LEVELS.len() as u64;
    let cell = |(&count, hole): (&u64, &Hole)| {
        let step = (count * steps).div_ceil(most.max(1));
        match (step.saturating_sub(line * 8).min(8), hole) {
            (0, Hole::Open) if step == 0 && line == 0 => HOLE,
            (0, _) => ' ',
            (level, _) => LEVELS[usize::try_from(level).unwrap_or(8) - 1],
        }
    };
    counts.iter().zip(holes).map(cell).collect()
}

/// The holes faint, the rest as the severity has it.
fn painted(row: &str, bars: (&str, &str), holes: (&str, &str)) -> String {
    let mut out = String::new();
    let mut rest = row;
    while let Some(c) = rest.chars().next() {
        let is_hole = c == HOLE;
        let end = rest
            .find(|c: char| (c == HOLE) != is_hole)
            .unwrap_or(rest.len());
        let (begin, plain) = if is_hole { holes } else { bars };
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

/// A line with a tick at round times, and the times.
fn axis(answer: &Answer, screen: Screen) -> [String; 2] {
    let request = &answer.request;
    let buckets = answer.timeline.buckets.len();
    let span = request.to.millis() - request.from.millis();
    let is_day =
        span <= 86_400_000 && request.from.to_string()[..10] == answer.until.to_string()[..10];
    // The widest text and two columns between.
    let apart = if is_day { 5 + 3 } else { 11 + 3 };
    let tick_ms = TICKS
        .iter()
        .map(|minutes| minutes * 60_000)
        .find(|tick| tick % request.bucket_ms == 0 && tick / request.bucket_ms >= apart)
        .unwrap_or(request.bucket_ms * (apart + 1));
    let (mut line, mut times) = (String::new(), " ".repeat(LABEL));
    for column in 0..buckets {
        let at = request.from.millis() + column as i64 * request.bucket_ms;
        let is_tick = at.rem_euclid(tick_ms) == 0;
        line.push(if is_tick { '┬' } else { '─' });
        if !is_tick {
            continue;
        }
        let time = Timestamp::from_millis(at).to_string();
        let text = match (is_day, tick_ms < 86_400_000) {
            (true, _) if tick_ms < 60_000 => time[11..19].to_owned(),
            (true, _) => time[11..16].to_owned(),
            (false, true) => time[5..16].replace('T', " "),
            (false, false) => time[..10].to_owned(),
        };
        let start = LABEL + column;
        if width(&times) + usize::from(width(&times) > LABEL) <= start
            && column + width(&text) <= buckets + COUNTS
        {
            times.extend(std::iter::repeat_n(' ', start - width(&times)));
            times.push_str(&text);
        }
    }
    let (faint, plain) = screen.faint();
    [
        format!("{:LABEL$}{faint}{line}{plain}", ""),
        format!("{faint}{}{plain}", times.trim_end()),
    ]
}

/// Where objects changed, and where something is missing.
fn signs(answer: &Answer, holes: &[Hole], screen: Screen) -> Vec<String> {
    let request = &answer.request;
    let mut changes = vec![' '; holes.len()];
    for mark in answer.changes() {
        let at = (mark.from.millis() - request.from.millis()).div_euclid(request.bucket_ms);
        if let Some(column) = usize::try_from(at).ok().and_then(|at| changes.get_mut(at)) {
            *column = CHANGE;
        }
    }
    let gaps: Vec<char> = holes
        .iter()
        .map(|hole| match hole {
            Hole::None => ' ',
            Hole::Healed => HEALED,
            Hole::Open => HOLE,
        })
        .collect();
    let mut lines = Vec::new();
    for (label, signs, (begin, end)) in [
        ("changes", changes, screen.mark()),
        (
            "gaps",
            gaps,
            (screen.begin("warning"), screen.end("warning")),
        ),
    ] {
        let signs: String = signs.into_iter().collect();
        if !signs.trim().is_empty() {
            lines.push(format!("{label:LABEL$}{begin}{}{end}", signs.trim_end()));
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
    fn every_count_above_zero_is_seen() {
        let holes = [Hole::None, Hole::None, Hole::None, Hole::None, Hole::Open];
        let counts = [0, 1, 1000, 500, 0];
        assert_eq!(bar(&counts, 1000, 1, &holes), "  █  ");
        assert_eq!(bar(&counts, 1000, 0, &holes), " ▁██░");
        assert_eq!(bar(&[0, 0], 0, 0, &holes), "  ");
    }
}
