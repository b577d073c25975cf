//! The status as a table.

use std::io::Write;
use std::time::Duration;

use kube9_model::time::Timestamp;
use serde_json::Value;

use super::{Counts, Document, RecentGaps, Recorder};
use crate::error::CliError;
use crate::terminal::Terminal;
use crate::text::{bytes, counted, grouped, safe, wrap};
use crate::time_arg::{Now, format_age};
use crate::zone::Zone;

/// Width of the labels.
const LABEL_WIDTH: usize = 10;

/// Number of entries of a list that are shown.
const ENTRIES_SHOWN: usize = 3;

/// Writes one line for each property, the most important first.
pub(super) fn write(
    out: &mut impl Write,
    document: &Document,
    now: &Now,
    terminal: Terminal,
) -> Result<(), CliError> {
    let (begin, end) = match document.status {
        "operational" => terminal.green(),
        "degraded" => (
            terminal.severity_start("warning"),
            terminal.severity_end("warning"),
        ),
        _ => (
            terminal.severity_start("error"),
            terminal.severity_end("error"),
        ),
    };
    let (bold, reset) = terminal.bold();
    let mut line = |label: &str, text: &str| {
        let padding = " ".repeat(LABEL_WIDTH.saturating_sub(label.len()));
        writeln!(out, "{bold}{label}{reset}{padding}{text}")
    };
    line("STATUS", &format!("{begin}{}{end}", document.status))?;
    let available = terminal
        .columns
        .map_or(usize::MAX, |columns| columns - LABEL_WIDTH);
    for reason in &document.reasons {
        for part in wrap(&safe(reason), available) {
            line("", &format!("{begin}{part}{end}"))?;
        }
    }
    for (label, text) in properties(document, now) {
        for (i, part) in wrap(&safe(&text), available).into_iter().enumerate() {
            line(if i == 0 { label } else { "" }, &part)?;
        }
    }
    Ok(())
}

fn properties(document: &Document, now: &Now) -> Vec<(&'static str, String)> {
    let (now, zone) = (now.time, &now.zone);
    let mut properties = Vec::new();
    if let Some(recorder) = &document.recorder {
        properties.push(("RECORDER", recorder.summary(now)));
    }
    if let (Some(gaps), Some(drops)) = (document.gaps_7d, document.unrecovered_drops) {
        let open = match document.open_gaps.len() {
            0 => "none open".to_owned(),
            open => format!("{open} open"),
        };
        properties.push(("GAPS", format!("{open}; {}", gaps.summary())));
        let since = document.recorder.as_ref().map_or(0, |state| state.dropped);
        let dropped = match (since, drops) {
            (0, 0) => "none since the recorder started".to_owned(),
            _ => format!(
                "{} since the recorder started, {} not recovered yet",
                grouped(since.unsigned_abs()),
                grouped(drops)
            ),
        };
        properties.push(("DROPS", dropped));
    }
    if let Some(total) = document.total_events {
        let recent = grouped(document.events_24h.unwrap_or(0));
        let newest = match document.newest_event.as_deref().map(Timestamp::parse) {
            Some(Ok(newest)) => format!(", newest {} ago", format_age(now.since(newest))),
            _ => String::new(),
        };
        properties.push((
            "EVENTS",
            format!(
                "{} in total, {recent} in the last 24 h{newest}",
                grouped(total)
            ),
        ));
        properties.extend(
            document
                .history_summary(now, zone)
                .map(|text| ("HISTORY", text)),
        );
        properties.extend(
            document
                .eviction_summary(zone)
                .map(|text| ("EVICTED", text)),
        );
        if let Some(recorder) = &document.recorder {
            let tracking = &recorder.detail["tracking"];
            properties.extend(folded_summary(tracking, zone).map(|text| ("FOLDED", text)));
            let lines = tracking_lines(tracking, zone).into_iter();
            let label = |n| if n == 0 { "TRACKING" } else { "" };
            properties.extend(lines.enumerate().map(|(n, text)| (label(n), text)));
        }
        properties.push(("SEVERITY", document.events_by_severity.summary()));
        properties.push(("TYPE", document.events_by_type.summary()));
    }
    let size = document
        .database_bytes
        .map(|size| format!(", {}", bytes(size)))
        .unwrap_or_default();
    properties.push(("DATABASE", format!("{}{size}", document.database_path)));
    if let (Some(free), Some(all)) = (document.disk_free_bytes, document.disk_bytes) {
        properties.push(("DISK", format!("{} of {} free", bytes(free), bytes(all))));
    }
    properties
}

impl Recorder {
    fn summary(&self, now: Timestamp) -> String {
        let ago = |text: &str| {
            Timestamp::parse(text).map_or("?".to_owned(), |time| format_age(now.since(time)))
        };
        let state = match &self.stopped_at {
            Some(stopped) => format!("stopped {} ago", ago(stopped)),
            None => format!(
                "started {} ago, heartbeat {} ago",
                ago(&self.started_at),
                format_age(Duration::from_secs_f64(self.heartbeat_age_seconds))
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
    /// The counts above zero.
    fn summary(&self) -> String {
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
    /// How far back the record goes, by severity where it differs.
    fn history_summary(&self, now: Timestamp, zone: &Zone) -> Option<String> {
        let oldest = Timestamp::parse(self.oldest_event.as_deref()?).ok()?;
        let mut text = format!(
            "since {} ({} ago)",
            zone.minute(oldest),
            format_age(now.since(oldest))
        );
        let mut days: Vec<(String, Vec<&str>)> = Vec::new();
        for (word, day) in &self.oldest_by_severity.0 {
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
            text.push_str(&format!("; {} since {day}", words.join(", ")));
        }
        Some(text)
    }
}

impl Document {
    /// The latest evictions.
    fn eviction_summary(&self, zone: &Zone) -> Option<String> {
        let listed: Vec<String> = self
            .evictions
            .iter()
            .take(ENTRIES_SHOWN)
            .map(|eviction| {
                let tenant = match (&eviction.namespace, eviction.tenant) {
                    (Some(namespace), _) => format!("namespace {namespace}"),
                    (None, "cluster") => "cluster-scoped objects".to_owned(),
                    (None, _) => "kube9's own rows".to_owned(),
                };
                format!(
                    "{} {} events of {tenant}, complete since {}",
                    grouped(eviction.deleted),
                    eviction.severity,
                    minute(&eviction.complete_since, zone)
                )
            })
            .collect();
        joined(&listed, self.evictions_total?)
    }
}

/// The first entries of a list, and the number of the others.
fn joined(listed: &[String], total: u64) -> Option<String> {
    let more = match total.saturating_sub(listed.len() as u64) {
        0 => String::new(),
        left => format!("; and {} more", grouped(left)),
    };
    (!listed.is_empty()).then(|| format!("{}{more}", listed.join("; ")))
}

fn entries<'a>(tracking: &'a Value, key: &str) -> &'a [Value] {
    tracking[key].as_array().map_or(&[], Vec::as_slice)
}

/// An entry of the recorder's detail; empty text: cluster-scoped objects.
fn tenant(namespace: &Value) -> String {
    match namespace.as_str() {
        Some("") | None => "cluster-scoped objects".to_owned(),
        Some(namespace) => format!("namespace {namespace}"),
    }
}

/// `2025-12-02 10:31 UTC`
fn minute(time: &str, zone: &Zone) -> String {
    Timestamp::parse(time).map_or("?".to_owned(), |time| zone.minute(time))
}

/// Namespaces whose changes exceed a budget.
fn folded_summary(tracking: &Value, zone: &Zone) -> Option<String> {
    let all = entries(tracking, "folded");
    let listed: Vec<String> = all
        .iter()
        .take(ENTRIES_SHOWN)
        .map(|one| {
            let count = |key: &str| one[key].as_u64().unwrap_or(0);
            let causes: Vec<String> = [
                ("object_budget", "of an object"),
                ("namespace_budget", "of a kind"),
            ]
            .iter()
            .filter(|(key, _)| count(key) > 0)
            .map(|(key, whose)| {
                let changes = counted(count(key), "change");
                format!("{changes} over the budget {whose}")
            })
            .collect();
            format!(
                "{}: {}, {} without a revision, {} to {}",
                tenant(&one["namespace"]),
                causes.join(", "),
                counted(count("revisions_left_out"), "state"),
                minute(one["since"].as_str().unwrap_or_default(), zone),
                minute(one["until"].as_str().unwrap_or_default(), zone),
            )
        })
        .collect();
    let total = tracking["folded_total"].as_u64();
    joined(&listed, total.unwrap_or(all.len() as u64))
}

/// Kinds that are not tracked, and namespaces with too many bytes of past states.
fn tracking_lines(tracking: &Value, zone: &Zone) -> Vec<String> {
    let summary = |key: &str, what: &str, text: &dyn Fn(&Value) -> String| {
        let all = entries(tracking, key);
        let listed: Vec<String> = all.iter().take(ENTRIES_SHOWN).map(text).collect();
        joined(&listed, all.len() as u64).map(|text| format!("{what} {text}"))
    };
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let lines = [
        summary("absent", "not tracked:", &|one| {
            format!("{} ({})", word(&one["kind"]), word(&one["why"]))
        }),
        summary("unwatched", "no longer watched:", &|one| {
            let objects = counted(one["objects"].as_u64().unwrap_or(0), "object");
            let (kind, since) = (word(&one["kind"]), minute(&word(&one["since"]), zone));
            format!("{kind} ({objects}) since {since}")
        }),
        summary("over_budget", "past states deleted early:", &tenant),
    ];
    lines.into_iter().flatten().collect()
}

impl RecentGaps {
    fn summary(self) -> String {
        let longest = Duration::from_secs_f64(self.longest_not_recovered_seconds);
        let not_recovered = format!("not recovered (longest {})", format_age(longest));
        let mut words = Vec::new();
        for (count, what) in [
            (self.not_recovered, not_recovered.as_str()),
            (self.partly_recovered, "partly recovered"),
            (self.recovered, "recovered"),
        ] {
            if count > 0 {
                words.push(format!("{} {what}", grouped(count)));
            }
        }
        if words.is_empty() {
            return "none in the last 7 days".to_owned();
        }
        format!("in the last 7 days: {}", words.join(", "))
    }
}
