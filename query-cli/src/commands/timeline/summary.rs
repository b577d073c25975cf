//! The sentences under the chart: when it began, the peak, the changes before each, and the gaps.

use std::cmp::Reverse;
use std::time::Duration;

use kube9_db::read::{Marker, Row};
use kube9_model::time::Timestamp;

use super::{Answer, LABEL_WIDTH, Recovery, authors};
use crate::commands::event_table::{message, object_in_namespace};
use crate::terminal::Terminal;
use crate::text::{counted, fit, grouped, plural, safe, safe_text};
use crate::time_arg::format_age;

/// A change longer ago than this is hardly the cause.
const JUST_BEFORE: Duration = Duration::from_secs(3600);
/// A problem that is seen this soon after a gap may have begun within it.
const JUST_AFTER: Duration = Duration::from_secs(300);
/// Number of changes that are listed before the beginning, and before the peak.
const CHANGES_LISTED: [usize; 2] = [3, 2];
/// Number of gaps that are listed.
const GAPS_LISTED: usize = 4;

struct Line {
    label: &'static str,
    text: String,
    severity: &'static str,
}

/// The lines under the chart.
pub(super) fn render(answer: &Answer, terminal: Terminal, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    let began = began(answer, now, &mut lines);
    let peak = peak(answer, &mut lines);
    changes(answer, began, peak, &mut lines);
    gaps(answer, now, &mut lines);
    let available = terminal
        .columns
        .unwrap_or(usize::MAX)
        .saturating_sub(LABEL_WIDTH);
    let (bold, reset) = terminal.bold();
    lines
        .into_iter()
        .map(|line| {
            let (begin, end) = (
                terminal.severity_start(line.severity),
                terminal.severity_end(line.severity),
            );
            let padding = " ".repeat(LABEL_WIDTH.saturating_sub(line.label.len()));
            let label = if line.label.is_empty() {
                String::new()
            } else {
                format!("{bold}{}{reset}", line.label)
            };
            format!("{label}{padding}{begin}{}{end}", fit(&line.text, available))
        })
        .collect()
}

impl Line {
    /// The caller has escaped names with [`safe`].
    fn new(label: &'static str, text: String) -> Self {
        Self {
            label,
            text: safe_text(&text),
            severity: "info",
        }
    }
}

/// `10:30:45`, with the date if the range is longer than a day.
fn clock(answer: &Answer, time: Timestamp) -> String {
    let shown = |time| answer.zone.shown(time).to_string();
    let text = shown(time);
    let is_day = shown(answer.request.from)[..10] == shown(answer.until)[..10]
        && shown(answer.until)[..10] == text[..10];
    if is_day {
        text[11..19].to_owned()
    } else {
        text[5..19].replace('T', " ")
    }
}

fn began(answer: &Answer, now: Timestamp, lines: &mut Vec<Line>) -> Option<Timestamp> {
    let problems: u64 = answer.timeline.problems.iter().sum();
    if problems == 0 {
        let none = "no event of severity warning or higher about an object";
        lines.push(Line::new("began", none.to_owned()));
        return None;
    }
    if answer.timeline.began_before {
        lines.push(Line::new(
            "began",
            format!(
                "before {}: a problem continues from before the range; use an earlier --since",
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
            format_age(now.since(time)),
            one_line(row)
        ),
    );
    line.severity = severity_word(&row.severity);
    lines.push(line);
    // It may have begun within a gap just before.
    let gap_before = answer
        .gaps()
        .filter(|gap| Recovery::of(gap) != Recovery::Complete)
        .find(|gap| gap.from < time && gap.to.is_none_or(|to| to.plus(JUST_AFTER) >= time));
    if let Some(gap) = gap_before {
        lines.push(Line::new(
            "",
            format!(
                "or earlier: the record has a gap from {}",
                clock(answer, gap.from)
            ),
        ));
    }
    Some(time)
}

/// The severity as a static word.
fn severity_word(severity: &str) -> &'static str {
    severity
        .parse::<kube9_model::Severity>()
        .map_or("info", |severity| severity.as_str())
}

/// The bucket with the most problems, if it is not the one in which they began.
fn peak(answer: &Answer, lines: &mut Vec<Line>) -> Option<Timestamp> {
    let peak = answer.peak.as_ref()?;
    let reasons = if peak.reasons.is_empty() {
        String::new()
    } else {
        format!(", mainly {}", safe(&peak.reasons.join(", ")))
    };
    lines.push(Line::new(
        "peak",
        format!(
            "{} ({})  {} events of severity warning or higher{reasons}",
            clock(answer, peak.from),
            format_age(peak.to.since(peak.from)),
            grouped(peak.events),
        ),
    ));
    Some(peak.from)
}

/// The changes just before the beginning and just before the peak; without problems, the newest changes.
fn changes(
    answer: &Answer,
    began: Option<Timestamp>,
    peak: Option<Timestamp>,
    lines: &mut Vec<Line>,
) {
    let all: Vec<&Marker> = answer.changes().collect();
    let before = |time: Timestamp, max: usize| -> Vec<&Marker> {
        let mut near: Vec<&Marker> = all
            .iter()
            .rev()
            .copied()
            .filter(|change| change.from <= time && time.since(change.from) <= JUST_BEFORE)
            .take(max)
            .collect();
        near.reverse();
        near
    };
    let (before_began, before_peak) = match began {
        Some(time) => (
            before(time, CHANGES_LISTED[0]),
            peak.map(|time| before(time, CHANGES_LISTED[1]))
                .unwrap_or_default(),
        ),
        None => (before(answer.until, CHANGES_LISTED[0]), Vec::new()),
    };
    let mut listed: Vec<(&Marker, String)> = Vec::new();
    for (changes, time, what) in [
        (before_began, began, "before it began"),
        (before_peak, peak, "before the peak"),
    ] {
        for change in changes {
            if listed
                .iter()
                .any(|(other, _)| other.row.id == change.row.id)
            {
                continue;
            }
            let distance = match time {
                Some(time) if time == change.from => what.replace("before", "as"),
                Some(time) => format!("{} {what}", format_age(time.since(change.from))),
                None => String::new(),
            };
            let by = authors(&change.row).map(|names| format!("by {}", safe(&names.join(", "))));
            let notes: Vec<String> = [distance].into_iter().chain(by).collect();
            let notes = notes.join(", ");
            let notes = match notes.trim_start_matches(", ") {
                "" => String::new(),
                notes => format!(" ({notes})"),
            };
            listed.push((change, notes));
        }
    }
    if listed.is_empty() && began.is_some() {
        let none = "no change of a watched object in the hour before".to_owned();
        lines.push(Line::new("changed", none));
    }
    for (i, (change, notes)) in listed.iter().enumerate() {
        lines.push(Line::new(
            if i == 0 { "changed" } else { "" },
            format!(
                "{}{notes}  {}",
                clock(answer, change.from),
                one_line(&change.row)
            ),
        ));
    }
    let more =
        all.len() - listed.len() + usize::try_from(answer.timeline.omitted_markers).unwrap_or(0);
    if more > 0 {
        let changes = counted(more as u64, "more change");
        lines.push(Line::new("", format!("and {changes}")));
    }
}

/// The gaps, grouped by their end; those that were not completely recovered first.
fn gaps(answer: &Answer, now: Timestamp, lines: &mut Vec<Line>) {
    let mut groups: Vec<GapGroup<'_>> = Vec::new();
    for marker in answer.gaps() {
        let gap = Gap {
            marker,
            kinds: kinds(&marker.row),
        };
        match groups.iter_mut().find(|group| group.ends_with(marker)) {
            Some(group) => group.0.push(gap),
            None => groups.push(GapGroup(vec![gap])),
        }
    }
    for group in &mut groups {
        // Events are the most important kind; of the others the longest gap comes first.
        group
            .0
            .sort_by_key(|gap| (!gap.kinds.starts_with(EVENTS), gap.marker.from));
    }
    groups.sort_by_key(|group| {
        let marker = group.0[0].marker;
        (group.recovery() == Recovery::Complete, Reverse(marker.from))
    });
    let mut is_first = true;
    let mut push = |line: String| {
        lines.push(Line::new(if is_first { "gap" } else { "" }, line));
        is_first = false;
    };
    if let Some(since) = answer.recorder_down_since {
        push(format!(
            "{} to now ({})  kube9-recorder is not running; nothing is recorded",
            clock(answer, since),
            format_age(now.since(since))
        ));
    }
    for group in groups.iter().take(GAPS_LISTED) {
        push(group.line(answer, now));
    }
    if groups.len() > GAPS_LISTED {
        push(format!("and {} more", groups.len() - GAPS_LISTED));
    }
    if let Some(start) = answer.record_start {
        push(format!(
            "before {}  not recorded: the record starts here",
            clock(answer, start)
        ));
    }
}

/// Gaps whose ends are within this duration form a group.
const SAME_END: Duration = Duration::from_secs(30);

/// Gaps that ended together, the most important first; never empty.
struct GapGroup<'a>(Vec<Gap<'a>>);

struct Gap<'a> {
    marker: &'a Marker,
    kinds: String,
}

impl GapGroup<'_> {
    fn ends_with(&self, marker: &Marker) -> bool {
        match (self.0[0].marker.to, marker.to) {
            (None, None) => true,
            (Some(a), Some(b)) => a.since(b).max(b.since(a)) <= SAME_END,
            _ => false,
        }
    }

    /// The worst recovery of the group.
    fn recovery(&self) -> Recovery {
        let gaps = self.0.iter().map(|gap| Recovery::of(gap.marker));
        gaps.max().unwrap_or(Recovery::None)
    }

    fn line(&self, answer: &Answer, now: Timestamp) -> String {
        let Gap { marker, kinds } = &self.0[0];
        let (end, duration) = match marker.to {
            Some(to) => (clock(answer, to), format_age(to.since(marker.from))),
            None => ("now".to_owned(), format_age(now.since(marker.from))),
        };
        let state = match (marker.to, self.recovery()) {
            (None, _) => "still open",
            (_, Recovery::Complete) => "recovered",
            (_, Recovery::Partial) => "partly recovered",
            (_, Recovery::None) => "not recovered",
        };
        let mut line = format!(
            "{} to {end} ({duration}, {state})  ",
            clock(answer, marker.from)
        );
        if kinds.is_empty() {
            line.push_str(message(&marker.row));
        } else {
            line.push_str(kinds);
        }
        // A kind that is watched namespace by namespace has a gap in each; list it once.
        let mut others: Vec<&Gap<'_>> = Vec::new();
        for gap in &self.0[1..] {
            let is_listed = |other: &&Gap<'_>| other.kinds == gap.kinds;
            if !gap.kinds.is_empty() && gap.kinds != *kinds && !others.iter().any(is_listed) {
                others.push(gap);
            }
        }
        if let Some(earliest) = others.iter().map(|gap| gap.marker.from).min() {
            let names: Vec<&str> = others.iter().map(|gap| gap.kinds.as_str()).collect();
            let since = clock(answer, earliest);
            line.push_str(&format!("; since {since} {}", names.join(", ")));
        }
        line
    }
}

const EVENTS: &str = "Events";

/// The kinds that were not watched, e.g. `Events, Pods`; empty if the row does not name any.
fn kinds(row: &Row) -> String {
    let metadata = crate::output::metadata(row);
    let source = metadata["source"].as_str().unwrap_or_default();
    if source.is_empty() || source == "kube9" {
        return String::new();
    }
    let kinds: Vec<String> = source.split(", ").map(|kind| plural(&safe(kind))).collect();
    kinds.join(", ")
}

/// `Pod/web-1/shop: Back-off restarting…`; without the object if the message names it.
fn one_line(row: &Row) -> String {
    // The authors of a change stand before it, where they are not truncated.
    let message = message(row);
    let message = authors(row)
        .and_then(|names| message.strip_suffix(&format!(" By {}.", names.join(", "))))
        .unwrap_or(message);
    let Some(name) = row.object_name.as_deref() else {
        return message.to_owned();
    };
    if message.contains(name)
        && row
            .object_namespace
            .as_deref()
            .is_none_or(|namespace| message.contains(namespace))
    {
        return message.to_owned();
    }
    format!("{}: {message}", safe(&object_in_namespace(row)))
}
