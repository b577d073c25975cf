//! Matches Events against the globs of a rule.

use kube9_model::record::Record;
use serde::{Deserialize, Serialize};

use super::problems::Problems;
use crate::decode::KubeEvent;

/// Globs in one field of one rule.
pub const GLOBS_MAX: usize = 100;
/// Length of one glob: the longest name that Kubernetes allows. Bounds the time of a match.
pub const GLOB_BYTES_MAX: usize = 253;

/// Conditions of a rule; all that are given must hold, and at least one must be given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Match {
    /// Namespace of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// Kind of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<String>>,
    /// Name of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// Reason of the Event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<String>>,
    /// Type of the Event, `Normal` or `Warning`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<String>>,
}

/// The fields that rules match.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Namespace of the object; empty if cluster-scoped.
    pub namespace: &'a str,
    /// Kind of the object.
    pub kind: &'a str,
    /// Name of the object.
    pub name: &'a str,
    /// Reason of the Event.
    pub reason: &'a str,
    /// Type of the Event.
    pub kube_type: &'a str,
}

impl<'a> From<&'a KubeEvent> for Subject<'a> {
    fn from(event: &'a KubeEvent) -> Self {
        let object = &event.involved_object;
        Self {
            namespace: object.namespace.as_deref().unwrap_or_default(),
            kind: object.kind.as_deref().unwrap_or_default(),
            name: object.name.as_deref().unwrap_or_default(),
            reason: event.reason.as_deref().unwrap_or_default(),
            kube_type: event.kind.as_deref().unwrap_or_default(),
        }
    }
}

impl<'a> From<&'a Record> for Subject<'a> {
    fn from(record: &'a Record) -> Self {
        let (namespace, kind, name) = record
            .object
            .as_ref()
            .map_or(("", "", ""), |o| (&o.namespace, &o.kind, &o.name));
        Self {
            namespace,
            kind,
            name,
            reason: &record.reason,
            kube_type: &record.kube_type,
        }
    }
}

/// A [`Match`] that was checked.
#[derive(Debug, Clone)]
pub(super) struct Matcher {
    namespaces: Globs,
    kinds: Globs,
    names: Globs,
    reasons: Globs,
    types: Globs,
}

impl Matcher {
    pub(super) fn new(matches: &Match, path: &str, bad: &mut Problems) -> Self {
        let Match {
            namespaces,
            kinds,
            names,
            reasons,
            types,
        } = matches;
        if [namespaces, kinds, names, reasons, types]
            .iter()
            .all(|field| field.is_none())
        {
            bad.add(
                path.to_owned(),
                "needs a condition; to match every Event write namespaces: [\"*\"]",
            );
        }
        let mut globs = |field: &Option<Vec<String>>, name: &str, case: Case| {
            Globs::new(field.as_deref(), &format!("{path}.{name}"), case, bad)
        };
        Self {
            namespaces: globs(namespaces, "namespaces", Case::Exact),
            kinds: globs(kinds, "kinds", Case::Ignored),
            names: globs(names, "names", Case::Exact),
            reasons: globs(reasons, "reasons", Case::Ignored),
            types: globs(types, "types", Case::Ignored),
        }
    }

    pub(super) fn is_match(&self, subject: Subject<'_>) -> bool {
        self.types.is_match(subject.kube_type)
            && self.reasons.is_match(subject.reason)
            && self.kinds.is_match(subject.kind)
            && self.namespaces.is_match(subject.namespace)
            && self.names.is_match(subject.name)
    }
}

#[derive(Debug, Clone, Copy)]
enum Case {
    Exact,
    Ignored,
}

/// The globs of one field; `None` if the rule does not match on the field.
#[derive(Debug, Clone)]
struct Globs(Option<Vec<String>>, Case);

impl Globs {
    fn new(globs: Option<&[String]>, path: &str, case: Case, bad: &mut Problems) -> Self {
        let Some(globs) = globs else {
            return Self(None, case);
        };
        if globs.is_empty() {
            bad.add(
                path.to_owned(),
                "is empty, so the rule can never match; leave the field out to match everything",
            );
        }
        if globs.len() > GLOBS_MAX {
            bad.add(
                path.to_owned(),
                format_args!(
                    "has {} entries; at most {GLOBS_MAX} are possible",
                    globs.len()
                ),
            );
        }
        for (index, glob) in globs
            .iter()
            .enumerate()
            .filter(|(_, glob)| glob.len() > GLOB_BYTES_MAX)
        {
            let problem = format_args!(
                "is {} bytes long; at most {GLOB_BYTES_MAX} are possible",
                glob.len()
            );
            bad.add(format!("{path}[{index}]"), problem);
        }
        Self(Some(globs.to_vec()), case)
    }

    fn is_match(&self, text: &str) -> bool {
        self.0
            .as_ref()
            .is_none_or(|globs| globs.iter().any(|glob| glob_match(glob, text, self.1)))
    }
}

/// Matches with one backtracking point (the latest `*`): quadratic time at most, constant space.
fn glob_match(glob: &str, text: &str, case: Case) -> bool {
    let same = |a: char, b: char| match case {
        Case::Exact => a == b,
        Case::Ignored => a.eq_ignore_ascii_case(&b),
    };
    let (mut glob, mut text) = (glob.chars(), text.chars());
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (mut next_glob, mut next_text) = (glob.clone(), text.clone());
        match (next_glob.next(), next_text.next()) {
            (Some('*'), _) => {
                retry = Some((next_glob.clone(), text.clone()));
                glob = next_glob;
                continue;
            }
            (None, None) => return true,
            (Some(g), Some(t)) if g == '?' || same(g, t) => {
                (glob, text) = (next_glob, next_text);
                continue;
            }
            _ => {}
        }
        let Some((after_star, rest)) = &mut retry else {
            return false;
        };
        if rest.next().is_none() {
            return false;
        }
        (glob, text) = (after_star.clone(), rest.clone());
    }
}

#[cfg(test)]
mod tests {
    use kube9_model::ObjectRef;
    use kube9_model::time::Timestamp;

    use super::*;
    use crate::decode::decode_event;

    #[test]
    fn subject_of_event_equals_subject_of_its_row() {
        let expected = Subject {
            namespace: "shop",
            kind: "Pod",
            name: "web-1",
            reason: "Unhealthy",
            kube_type: "Warning",
        };
        let event = br#"{"reason": "Unhealthy", "type": "Warning",
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-1"}}"#;
        assert_eq!(Subject::from(&decode_event(event).unwrap()), expected);
        let mut record = Record {
            object: Some(ObjectRef {
                kind: "Pod".into(),
                namespace: "shop".into(),
                name: "web-1".into(),
            }),
            reason: "Unhealthy".into(),
            kube_type: "Warning".into(),
            ..Record::internal(Timestamp::EPOCH)
        };
        assert_eq!(Subject::from(&record), expected);
        record.object = None;
        let without_object = Subject {
            reason: "Unhealthy",
            kube_type: "Warning",
            ..Subject::default()
        };
        assert_eq!(Subject::from(&record), without_object);
    }

    #[test]
    fn glob_match_patterns() {
        for (glob, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("?", "", false),
            ("?", "é", true),
            ("web-*", "web-", true),
            ("web-*", "we", false),
            ("*-1", "web-1-1", true),
            ("w*b?1", "wxxbxb-1", true),
            ("w*b?1", "wxxbxb-2", false),
            ("**a**", "bab", true),
            ("a*a*a*a*a*a*b", &"a".repeat(200), false),
            ("Web", "web", false),
        ] {
            assert_eq!(
                glob_match(glob, text, Case::Exact),
                expected,
                "{glob} {text}"
            );
        }
        assert!(glob_match("pod", "Pod", Case::Ignored));
    }
}
