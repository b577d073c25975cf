//! The status for people.

use std::io::Write;
use std::time::Duration;

use kube9_model::time::Timestamp;

use super::{Counts, Document, PastGaps, Recorder};
use crate::failure::Failure;
use crate::moment::short;
use crate::screen::Screen;
use crate::text::{bytes, grouped, safe, wrap};

/// Columns before the facts.
const LABEL: usize = 10;

/// Of those whose record is shortened, so many are named.
const SHORTENED_SHOWN: usize = 3;

/// One line a fact: what the trust depends on first.
pub(super) fn write(
    out: &mut impl Write,
    document: &Document,
    now: Timestamp,
    screen: Screen,
) -> Result<(), Failure> {
    let (begin, end) = match document.status {
        "operational" => screen.good(),
        "degraded" => (screen.begin("warning"), screen.end("warning")),
        _ => (screen.begin("error"), screen.end("error")),
    };
    let (strong, plain) = screen.strong();
    let mut line = |label: &str, text: &str| {
        let padding = " ".repeat(LABEL.saturating_sub(label.len()));
        writeln!(out, "{strong}{label}{plain}{padding}{text}")
    };
    line("STATUS", &format!("{begin}{}{end}", document.status))?;
    let room = screen.columns.map_or(usize::MAX, |columns| columns - LABEL);
    for reason in &document.reasons {
        for part in wrap(&safe(reason), room) {
            line("", &format!("{begin}{part}{end}"))?;
        }
    }
    for (label, text) in facts(document, now) {
        for (i, part) in wrap(&safe(&text), room).into_iter().enumerate() {
            line(if i == 0 { label } else { "" }, &part)?;
        }
    }
    Ok(())
}

fn facts(document: &Document, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(recorder) = &document.recorder {
        facts.push(("RECORDER", recorder.words(now)));
    }
    if let (Some(gaps), Some(drops)) = (document.gaps_7d, document.unhealed_drops) {
        let open = match document.open_gaps.len() {
            0 => "none open".to_owned(),
            open => format!("{open} open"),
        };
        facts.push(("GAPS", format!("{open}; {}", gaps.words())));
        let since = document.recorder.as_ref().map_or(0, |state| state.dropped);
        let lost = match (since, drops) {
            (0, 0) => "none since the recorder started".to_owned(),
            _ => format!(
                "{} since the recorder started, {} not recovered yet",
                grouped(since.unsigned_abs()),
                grouped(drops)
            ),
        };
        facts.push(("DROPS", lost));
    }
    if let Some(total) = document.total_events {
        let recent = grouped(document.events_24h.unwrap_or(0));
        let newest = match document.newest_event.as_deref().map(Timestamp::parse) {
            Some(Ok(newest)) => format!(", newest {} ago", short(now.since(newest))),
            _ => String::new(),
        };
        facts.push((
            "EVENTS",
            format!("{}, {recent} in the last 24 h{newest}", grouped(total)),
        ));
        facts.extend(document.reach_words(now).map(|text| ("REACH", text)));
        facts.extend(document.shortened_words().map(|text| ("SHORTENED", text)));
        facts.push(("SEVERITY", document.events_by_severity.words()));
        facts.push(("TYPE", document.events_by_type.words()));
    }
    let size = document
        .database_bytes
        .map(|size| format!(", {}", bytes(size)))
        .unwrap_or_default();
    facts.push(("DATABASE", format!("{}{size}", document.database_path)));
    if let (Some(free), Some(all)) = (document.disk_free_bytes, document.disk_bytes) {
        facts.push(("DISK", format!("{} of {} free", bytes(free), bytes(all))));
    }
    facts
}

impl Recorder {
    fn words(&self, now: Timestamp) -> String {
        let ago = |text: &str| {
            Timestamp::parse(text).map_or("?".to_owned(), |time| short(now.since(time)))
        };
        let state = match &self.stopped_at {
            Some(stopped) => format!("stopped {} ago", ago(stopped)),
            None => format!(
                "started {} ago, heartbeat {} ago",
                ago(&self.started_at),
                short(Duration::from_secs_f64(self.heartbeat_age_seconds))
            ),
        };
        let lag = self
            .lag_seconds
            .map(|lag| format!(", lag {lag:.1} s"))
            .unwrap_or_default();
        format!("{}, {state}{lag}, queue {}", self.version, self.queue_rows)
    }
}

impl Counts {
    /// Those above zero.
    fn words(&self) -> String {
        let shown: Vec<String> = self
            .0
            .iter()
            .filter(|(_, n)| *n > 0)
            .map(|(word, n)| format!("{word} {}", grouped(*n)))
            .collect();
        if shown.is_empty() {
            "-".to_owned()
        } else {
            shown.join(", ")
        }
    }
}

impl Document {
    /// How far back the record reaches, and each severity of it.
    fn reach_words(&self, now: Timestamp) -> Option<String> {
        let oldest = Timestamp::parse(self.oldest_event.as_deref()?).ok()?;
        let mut text = format!(
            "{} back, to {} UTC",
            short(now.since(oldest)),
            oldest.to_string()[..16].replace('T', " ")
        );
        let mut days: Vec<(String, Vec<&str>)> = Vec::new();
        for (word, day) in &self.reach.0 {
            let Some(day) = day.map(|day| day.to_string()[..10].to_owned()) else {
                continue;
            };
            if oldest.to_string().starts_with(&day) {
                continue;
            }
            match days.iter_mut().find(|(other, _)| *other == day) {
                Some((_, words)) => words.push(word),
                None => days.push((day, vec![word])),
            }
        }
        for (day, words) in days {
            text.push_str(&format!("; {} to {day}", words.join(", ")));
        }
        Some(text)
    }
}

impl Document {
    /// Whose record the size limit has shortened most.
    fn shortened_words(&self) -> Option<String> {
        let named: Vec<String> = self
            .shortened
            .iter()
            .take(SHORTENED_SHOWN)
            .map(|one| {
                let whose = match (&one.namespace, one.tenant) {
                    (Some(namespace), _) => format!("namespace {namespace}"),
                    (None, "cluster") => "cluster-scoped objects".to_owned(),
                    (None, _) => "kube9's own rows".to_owned(),
                };
                format!(
                    "{whose}, {} complete since {} UTC ({} deleted)",
                    one.severity,
                    one.complete_since[..16].replace('T', " "),
                    grouped(one.deleted)
                )
            })
            .collect();
        let left = self.shortened_total? - named.len() as u64;
        let more = match left {
            0 => String::new(),
            left => format!("; {} more", grouped(left)),
        };
        (!named.is_empty()).then(|| format!("{}{more}", named.join("; ")))
    }
}

impl PastGaps {
    fn words(self) -> String {
        let longest = Duration::from_secs_f64(self.longest_not_healed_seconds);
        let not_healed = format!("not healed (the longest {})", short(longest));
        let mut words = Vec::new();
        for (count, what) in [
            (self.not_healed, not_healed.as_str()),
            (self.partly_healed, "partly healed"),
            (self.healed, "healed"),
        ] {
            if count > 0 {
                words.push(format!("{} {what}", grouped(count)));
            }
        }
        if words.is_empty() {
            return "none in the last 7 days".to_owned();
        }
        format!("in the last 7 days {}", words.join(", "))
    }
}
