//! Phrases that the texts of several rules share.

use std::time::Duration;

use kube9_ingest::objects::Terminated;
use kube9_model::ObjectRef;
use kube9_model::time::Timestamp;

use crate::world::PodEntry;

/// `namespace/name`.
pub(crate) fn pod_name(entry: &PodEntry) -> String {
    format!("{}/{}", entry.pod.meta.namespace, entry.pod.meta.name)
}

/// `Kind namespace/name`.
pub(crate) fn owner_name(owner: &ObjectRef) -> String {
    if owner.namespace.is_empty() {
        format!("{} {}", owner.kind, owner.name)
    } else {
        format!("{} {}/{}", owner.kind, owner.namespace, owner.name)
    }
}

/// Reason and message of Kubernetes, for the middle of a sentence: without the full stop.
pub(crate) fn reason_and_message(reason: &str, message: &str) -> String {
    let message = message.trim().trim_end_matches('.');
    match (reason, message) {
        ("", "") => "no reason is given".to_owned(),
        (reason, "") => reason.to_owned(),
        ("", message) => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// ` at TIME`, or nothing if the time is not known.
pub(crate) fn at_time(time: Option<Timestamp>) -> String {
    time.map_or(String::new(), |time| format!(" at {time}"))
}

/// ` (text)`, or nothing without a text.
pub(crate) fn in_brackets(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!(" ({text})"),
    }
}

/// Longest part of the last words in a text, in bytes. The metadata has all that is kept.
const QUOTE_BYTES_MAX: usize = 200;

/// ` Its last words: "…".`, or nothing if the container left none.
pub(crate) fn last_words_sentence(end: &Terminated) -> String {
    match &*end.last_words {
        "" => String::new(),
        words if words.len() <= QUOTE_BYTES_MAX => format!(" Its last words: \"{words}\"."),
        words => {
            let end = words.floor_char_boundary(QUOTE_BYTES_MAX);
            format!(" Its last words: \"{}…\".", &words[..end])
        }
    }
}

/// `5 s`, `3 min`, `2 h`, `4 d`.
pub(crate) fn human_duration(time: Duration) -> String {
    match time.as_secs() {
        s @ ..120 => format!("{s} s"),
        s @ ..7_200 => format!("{} min", s / 60),
        s @ ..172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

/// `It was restarted 5 times.`
pub(crate) fn restart_sentence(count: i64) -> String {
    match count {
        0 => "It has not been restarted yet.".to_owned(),
        1 => "It was restarted once.".to_owned(),
        2 => "It was restarted twice.".to_owned(),
        n => format!("It was restarted {n} times."),
    }
}

/// `1 pod`, `5 pods`.
pub(crate) fn count(number: usize, one: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {one}s")
    }
}

/// The first 20 names, for metadata.
pub(crate) fn pod_names<'a>(pods: impl Iterator<Item = &'a PodEntry>) -> Vec<String> {
    let mut names: Vec<String> = pods.map(pod_name).collect();
    names.sort();
    names.truncate(20);
    names
}
