//! Classifies an Event: severity and title from the reason table, or a guess if the table has no row for it. Pure.

use std::borrow::Cow;

use kube9_model::Severity::{self, Error, Info, Warning};

use crate::reason_table::{Row, TABLE, is_extended};
use crate::redact::redact;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classification {
    pub severity: Severity,
    /// Does not contain the object's name.
    pub title: Cow<'static, str>,
    /// False if the table has no row for it, so that severity and title are guesses.
    pub known: bool,
}

/// What of an Event decides its severity and title.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent<'e> {
    pub reason: &'e str,
    pub component: &'e str,
    /// `Normal` or `Warning`.
    pub kube_type: &'e str,
    /// Kind of the object.
    pub kind: &'e str,
    pub message: &'e str,
}

/// Looks an Event up. A reason without a row gets its severity from the Event's type, or from its words, and its title
/// from itself.
pub fn classify(mut sent: Sent<'_>) -> Classification {
    let (reason, message) = (sent.reason, sent.message);
    // Reporters that omit the type, or write `normal`, mean Normal. Any other type counts as a warning.
    let normal = sent.kube_type.is_empty() || sent.kube_type.eq_ignore_ascii_case("Normal");
    if normal {
        sent.kube_type = "Normal";
    }
    let by_type = if normal { Info } else { Warning };
    let rows = &TABLE[TABLE.partition_point(|row| row.reason < reason)..];
    let mut rows = rows.iter().take_while(|row| row.reason == reason);
    match rows.find(|row| fits(row, sent)) {
        Some(row) => {
            // A Warning raises the row's severity, unless the row was chosen by type.
            let severity = if row.of_type.is_empty() {
                row.severity.max(by_type)
            } else {
                row.severity
            };
            Classification {
                severity,
                title: title(row, message),
                known: true,
            }
        }
        None if let Some(resource) = refused_resource(reason) => Classification {
            severity: Error,
            title: format!("Pod refused by the node, out of {resource}").into(),
            known: true,
        },
        None => Classification {
            severity: if names_trouble(reason, message) {
                by_type.max(Warning)
            } else {
                by_type
            },
            // Split into words, a secret could no longer be recognized.
            title: if is_redacted(reason) {
                reason.to_owned()
            } else {
                sentence(reason)
            }
            .into(),
            known: false,
        },
    }
}

/// Whether the row applies to the Event.
fn fits(row: &Row, sent: Sent<'_>) -> bool {
    let by = match row.by.strip_suffix('*') {
        Some(start) => sent.component.starts_with(start),
        None => row.by.is_empty() || row.by == sent.component,
    };
    let is_kind = |kind: &&str| match kind.strip_prefix('*') {
        Some(end) => sent.kind.ends_with(end),
        None => *kind == sent.kind,
    };
    by && (row.of_type.is_empty() || row.of_type == sent.kube_type)
        && (row.on.is_empty() || row.on.iter().any(is_kind))
        && (row.says.is_empty() || says(sent.message, row.says))
        && row.naming.is_none_or(|name| name(sent.message).is_some())
}

/// Whether the message contains all texts of one of these lists.
fn says(message: &str, any: &[&[&str]]) -> bool {
    any.iter()
        .any(|all| all.iter().all(|part| message.contains(part)))
}

/// The row's title, with the name and the cause that the message has.
fn title(row: &Row, message: &str) -> Cow<'static, str> {
    if let Some(name) = row.naming.and_then(|name| name(message)) {
        return row.title.replace("{}", name).into();
    }
    match row.causes.iter().find(|cause| says(message, cause.says)) {
        Some(cause) => format!("{}, {}", row.title, cause.title).into(),
        None => row.title.into(),
    }
}

/// The kubelet refuses a pod for want of a resource: `OutOfcpu` has a row, `OutOfnvidia.com/gpu` has none.
fn refused_resource(reason: &str) -> Option<&str> {
    reason
        .strip_prefix("OutOf")
        .filter(|resource| is_extended(resource) && !is_redacted(resource))
}

/// Words of a reason that mean trouble although the Event is Normal, as operators often send it: `VolumeDegraded`,
/// `FailedReconcile`, `NodeUnhealthy`.
const TROUBLE: [&str; 19] = [
    "Corrupt",
    "Corrupted",
    "Crashed",
    "Degraded",
    "Error",
    "Failed",
    "Failing",
    "Failover",
    "Failure",
    "Fault",
    "Faulted",
    "Faulty",
    "Lost",
    "Offline",
    "Stalled",
    "Stuck",
    "Unavailable",
    "Unhealthy",
    "Unreachable",
];

/// Words of a reason that mean that trouble is over, looked for, or cleaned up: `FailedPodDeleted`, `ErrorCleared`.
const HARMLESS: [&str; 17] = [
    "Cleaned",
    "Cleanup",
    "Cleared",
    "Completed",
    "Deleted",
    "Deleting",
    "Fixed",
    "Healed",
    "No",
    "Not",
    "Passed",
    "Recovered",
    "Recovering",
    "Removed",
    "Repaired",
    "Resolved",
    "Succeeded",
];

/// What operators write about a change of state.
const SENTENCES: [&str; 10] = [
    " became degraded",
    " became faulted",
    " became unhealthy",
    "initiating a failover",
    " is degraded",
    "-> Degraded",
    " to Degraded",
    " FAILED: ",
    "HEALTH_ERR",
    "HEALTH_WARN",
];

/// Whether an Event that is Normal by its type reports trouble.
fn names_trouble(reason: &str, message: &str) -> bool {
    let words: Vec<String> = sentence(reason).split(' ').map(capitalized).collect();
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&&**word));
    (has(&TROUBLE) && !has(&HARMLESS)) || SENTENCES.iter().any(|part| message.contains(part))
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next();
    let first = first.into_iter().flat_map(char::to_uppercase);
    first.chain(chars).collect()
}

fn is_redacted(text: &str) -> bool {
    matches!(redact(text), Cow::Owned(_))
}

/// `FailedToFrobnicate` → `Failed to frobnicate`.
fn sentence(reason: &str) -> String {
    let chars: Vec<char> = reason.trim().chars().collect();
    let mut title = String::with_capacity(reason.len() + 8);
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| chars[i]);
        let after_is_lower = chars.get(i + 1).is_some_and(|c| c.is_lowercase());
        let begins_word = c.is_uppercase()
            && before.is_some_and(|b| {
                b.is_lowercase() || b.is_numeric() || (b.is_uppercase() && after_is_lower)
            });
        if matches!(c, '_' | '-' | '.' | '/') || c.is_whitespace() {
            if !title.ends_with(' ') && !title.is_empty() {
                title.push(' ');
            }
            continue;
        }
        if begins_word && !title.ends_with(' ') {
            title.push(' ');
        }
        if title.is_empty() {
            title.extend(c.to_uppercase());
        } else if c.is_uppercase() && after_is_lower && title.ends_with(' ') {
            // A word, not an acronym.
            title.extend(c.to_lowercase());
        } else {
            title.push(c);
        }
    }
    title.truncate(title.trim_end().len());
    if title.is_empty() {
        "Event without a reason".to_owned()
    } else {
        title
    }
}

#[cfg(test)]
mod tests;
