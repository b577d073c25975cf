//! What the picture cannot say: the first trouble, the worst of it, what changed before, and the holes.

use std::cmp::Reverse;
use std::time::Duration;

use kube9_db::read::{Marker, Row};
use kube9_model::time::Timestamp;

use super::{Answer, Healed, LABEL};
use crate::commands::rows::{object, text};
use crate::moment::short;
use crate::screen::Screen;
use crate::text::{counted, fit, grouped, safe, safe_text};

/// A change longer before than this is hardly the cause.
const JUST_BEFORE: Duration = Duration::from_secs(3600);
/// What is seen so soon after a hole may have begun in it.
const JUST_AFTER: Duration = Duration::from_secs(300);
/// Changes that are told before the beginning, and before the peak.
const CHANGES: [usize; 2] = [3, 2];
/// Holes that are told.
const GAPS: usize = 4;

struct Line {
    label: &'static str,
    text: String,
    severity: &'static str,
}

/// The lines under the picture.
pub(super) fn tell(answer: &Answer, screen: Screen, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    let began = began(answer, now, &mut lines);
    let peak = peak(answer, &mut lines);
    changes(answer, began, peak, &mut lines);
    gaps(answer, now, &mut lines);
    let room = screen.columns.unwrap_or(usize::MAX).saturating_sub(LABEL);
    let (strong, plain) = screen.strong();
    lines
        .into_iter()
        .map(|line| {
            let (begin, end) = (screen.begin(line.severity), screen.end(line.severity));
            let padding = " ".repeat(LABEL.saturating_sub(line.label.len()));
            let label = if line.label.is_empty() {
                String::new()
            } else {
                format!("{strong}{}{plain}", line.label)
            };
            format!("{label}{padding}{begin}{}{end}", fit(&line.text, room))
        })
        .collect()
}

impl Line {
    /// The caller has made names [`safe`].
    fn new(label: &'static str, text: String) -> Self {
        Self {
            label,
            text: safe_text(&text),
            severity: "info",
        }
    }
}

/// `10:30:45`, with the date where the range is longer than a day.
fn clock(answer: &Answer, time: Timestamp) -> String {
    let text = time.to_string();
    let is_day = answer.request.from.to_string()[..10] == answer.until.to_string()[..10]
        && answer.until.to_string()[..10] == text[..10];
    if is_day {
        text[11..19].to_owned()
    } else {
        text[5..19].replace('T', " ")
    }
}

fn began(answer: &Answer, now: Timestamp, lines: &mut Vec<Line>) -> Option<Timestamp> {
    let trouble: u64 = answer.timeline.problems.iter().sum();
    if trouble == 0 {
        let worse = "nothing of warning or worse happened to an object";
        lines.push(Line::new("began", worse.to_owned()));
        return None;
    }
    if answer.timeline.began_before {
        lines.push(Line::new(
            "began",
            format!(
                "before {}: it was going on already; ask with an earlier --since",
                clock(answer, answer.request.from)
            ),
        ));
    }
    let row = answer.timeline.first.as_ref()?;
    let time = Timestamp::parse(&row.created_at).ok()?;
    let mut line = Line::new(
        if answer.timeline.began_before {
            ""
        } else {
            "began"
        },
        format!(
            "{} ({} ago)  {}",
            clock(answer, time),
            short(now.since(time)),
            brief(row)
        ),
    );
    line.severity = known(&row.severity);
    lines.push(line);
    // Nobody looked just before: it may be older.
    let blind = answer
        .gaps()
        .filter(|gap| Healed::of(gap) != Healed::Yes)
        .find(|gap| gap.from < time && gap.to.is_none_or(|to| to.plus(JUST_AFTER) >= time));
    if let Some(gap) = blind {
        lines.push(Line::new(
            "",
            format!(
                "or earlier: the record has a hole since {}",
                clock(answer, gap.from)
            ),
        ));
    }
    Some(time)
}

/// The severity as a word that lives for ever.
fn known(severity: &str) -> &'static str {
    severity
        .parse::<kube9_model::Severity>()
        .map_or("info", |severity| severity.as_str())
}

/// The worst bucket, where it is not the one in which it began.
fn peak(answer: &Answer, lines: &mut Vec<Line>) -> Option<Timestamp> {
    let peak = answer.peak.as_ref()?;
    let reasons = if peak.reasons.is_empty() {
        String::new()
    } else {
        format!(", most of all {}", safe(&peak.reasons.join(", ")))
    };
    lines.push(Line::new(
        "peak",
        format!(
            "{} ({})  {} of warning or worse{reasons}",
            clock(answer, peak.from),
            short(peak.to.since(peak.from)),
            grouped(peak.events),
        ),
    ));
    Some(peak.from)
}

/// Changes just before it began, and just before the peak; without either, the newest.
fn changes(
    answer: &Answer,
    began: Option<Timestamp>,
    peak: Option<Timestamp>,
    lines: &mut Vec<Line>,
) {
    let all: Vec<&Marker> = answer.changes().collect();
    let before = |time: Timestamp, most: usize| -> Vec<&Marker> {
        let mut near: Vec<&Marker> = all
            .iter()
            .rev()
            .copied()
            .filter(|mark| mark.from <= time && time.since(mark.from) <= JUST_BEFORE)
            .take(most)
            .collect();
        near.reverse();
        near
    };
    let (began_after, peak_after) = match began {
        Some(time) => (
            before(time, CHANGES[0]),
            peak.map(|time| before(time, CHANGES[1]))
                .unwrap_or_default(),
        ),
        None => (before(answer.until, CHANGES[0]), Vec::new()),
    };
    let mut told: Vec<(&Marker, String)> = Vec::new();
    for (marks, time, what) in [
        (began_after, began, "before it began"),
        (peak_after, peak, "before the peak began"),
    ] {
        for mark in marks {
            if told.iter().any(|(other, _)| other.row.id == mark.row.id) {
                continue;
            }
            let distance = match time {
                Some(time) if time == mark.from => format!(" ({})", what.replace("before", "as")),
                Some(time) => format!(" ({} {what})", short(time.since(mark.from))),
                None => String::new(),
            };
            told.push((mark, distance));
        }
    }
    if told.is_empty() && began.is_some() {
        let nothing = "nothing that kube9 watches, in the hour before".to_owned();
        lines.push(Line::new("changed", nothing));
    }
    for (i, (mark, distance)) in told.iter().enumerate() {
        lines.push(Line::new(
            if i == 0 { "changed" } else { "" },
            format!(
                "{}{distance}  {}",
                clock(answer, mark.from),
                brief(&mark.row)
            ),
        ));
    }
    let more =
        all.len() - told.len() + usize::try_from(answer.timeline.omitted_markers).unwrap_or(0);
    if more > 0 {
        let changes = counted(more as u64, "more change");
        lines.push(Line::new("", format!("and {changes}")));
    }
}

/// Blind intervals, those that ended together told together, what is lost before what was healed.
fn gaps(answer: &Answer, now: Timestamp, lines: &mut Vec<Line>) {
    let mut told: Vec<Hole<'_>> = Vec::new();
    for mark in answer.gaps() {
        let part = Part {
            mark,
            source: source(&mark.row),
        };
        match told.iter_mut().find(|hole| hole.ends_with(mark)) {
            Some(hole) => hole.0.push(part),
            None => told.push(Hole(vec![part])),
        }
    }
    for hole in &mut told {
        // Events tell more than any other source; among the others the longest comes first.
        hole.0
            .sort_by_key(|part| (!part.source.starts_with(EVENTS), part.mark.from));
    }
    told.sort_by_key(|hole| {
        let mark = hole.0[0].mark;
        (hole.healed() == Healed::Yes, Reverse(mark.from))
    });
    let mut first = true;
    let mut push = |line: String| {
        lines.push(Line::new(if first { "gap" } else { "" }, line));
        first = false;
    };
    if let Some(silent) = answer.silent_since {
        push(format!(
            "{} to now ({})  kube9-recorder does not run: nothing is recorded",
            clock(answer, silent),
            short(now.since(silent))
        ));
    }
    for hole in told.iter().take(GAPS) {
        push(hole.line(answer, now));
    }
    if told.len() > GAPS {
        push(format!("and {} more", told.len() - GAPS));
    }
    if let Some(begins) = answer.record_begins {
        push(format!(
            "before {}  the record begins there",
            clock(answer, begins)
        ));
    }
}

/// Sources that come back within so long of each other are told together.
const TOGETHER: Duration = Duration::from_secs(30);

/// What was blind until one moment, most important first; never empty.
struct Hole<'a>(Vec<Part<'a>>);

struct Part<'a> {
    mark: &'a Marker,
    source: String,
}

impl Hole<'_> {
    fn ends_with(&self, mark: &Marker) -> bool {
        match (self.0[0].mark.to, mark.to) {
            (None, None) => true,
            (Some(a), Some(b)) => a.since(b).max(b.since(a)) <= TOGETHER,
            _ => false,
        }
    }

    /// How far all of it was healed: the line promises no more than its worst part holds.
    fn healed(&self) -> Healed {
        let parts = self.0.iter().map(|part| Healed::of(part.mark));
        parts.max().unwrap_or(Healed::No)
    }

    fn line(&self, answer: &Answer, now: Timestamp) -> String {
        let Part { mark, source } = &self.0[0];
        let (end, blind) = match mark.to {
            Some(to) => (clock(answer, to), short(to.since(mark.from))),
            None => ("now".to_owned(), short(now.since(mark.from))),
        };
        let verdict = match (mark.to, self.healed()) {
            (None, _) => "still open",
            (_, Healed::Yes) => "healed",
            (_, Healed::Partly) => "partly healed",
            (_, Healed::No) => "not healed",
        };
        let mut line = format!(
            "{} to {end} ({blind}, {verdict})  ",
            clock(answer, mark.from)
        );
        if source.is_empty() {
            line.push_str(text(&mark.row));
        } else {
            line.push_str(source);
        }
        // A source that is watched namespace by namespace has a gap in each; its longest comes first.
        let mut others: Vec<&Part<'_>> = Vec::new();
        for part in &self.0[1..] {
            let is_told = |other: &&Part<'_>| other.source == part.source;
            if !part.source.is_empty() && part.source != *source && !others.iter().any(is_told) {
                others.push(part);
            }
        }
        if let Some(longest) = others.iter().map(|part| part.mark.from).min() {
            let names: Vec<&str> = others.iter().map(|part| part.source.as_str()).collect();
            let since = clock(answer, longest);
            line.push_str(&format!("; since {since} {}", names.join(", ")));
        }
        line
    }
}

const EVENTS: &str = "Events";

/// What was not watched, e.g. `Events`; empty where the row does not say.
fn source(row: &Row) -> String {
    let metadata = crate::output::metadata(row);
    let word = metadata["source"].as_str().unwrap_or_default();
    if word.is_empty() || word == "kube9" {
        String::new()
    } else {
        let kinds: Vec<String> = word
            .split(", ")
            .map(|kind| format!("{}s", safe(kind)))
            .collect();
        kinds.join(", ")
    }
}

/// `Pod/web-1 in shop: Back-off restarting…`; rows of kube9's own name their object themselves.
fn brief(row: &Row) -> String {
    let text = text(row);
    let Some(name) = row.object_name.as_deref() else {
        return text.to_owned();
    };
    if text.contains(name)
        && row
            .object_namespace
            .as_deref()
            .is_none_or(|n| text.contains(n))
    {
        return text.to_owned();
    }
    let place = row
        .object_namespace
        .as_ref()
        .map(|namespace| format!(" in {}", safe(namespace)))
        .unwrap_or_default();
    format!("{}{place}: {text}", safe(&object(row)))
}
