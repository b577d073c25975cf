//! Turns an Event into a row. Pure: the receive time is a parameter.
//!
//! This is the only place where the two forms of an Event (core/v1 `firstTimestamp`, `count`, `source`; events.k8s.io/v1
//! `eventTime`, `series`, `reportingComponent`) are merged.

use std::time::Duration;

use kube9_model::change::kinds::is_own_group;
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::record::{Observation, Occurred, Record, TIME_SUSPECT};
use kube9_model::time::Timestamp;
use kube9_model::{EventType, ObjectRef};
use serde_json::{Map, Value};

use crate::classify::{Classification, Sent, classify};
use crate::decode::KubeEvent;
use crate::filter::{SeverityOverrides, Subject};

/// How far a reporter's clock may be ahead of ours; later times are replaced.
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(5 * 60);

/// A whole object inside an annotation: large, and may contain anything.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The days of a time that was never set: Go's zero time, and the start of Unix time.
const UNSET_DAYS: [&str; 2] = ["0001-01-01", "1970-01-01"];

/// An Event, ready for `sanitize`.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalized {
    /// The row.
    pub record: Record,
    /// The reason table has no row for this Event; counted in a metric.
    pub unknown_reason: bool,
}

/// The Event has no identity, so it can be neither folded nor resumed from. The caller must skip it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NormalizeError {
    /// `metadata.uid` is missing or empty.
    #[error("Event without metadata.uid")]
    NoUid,
    /// `metadata.resourceVersion` is missing or empty.
    #[error("Event without metadata.resourceVersion")]
    NoResourceVersion,
}

/// Makes a row of an Event that was received at `received`.
///
/// # Errors
/// The Event has no identity. Any other field may be missing.
pub fn normalize(
    event: KubeEvent,
    received: Timestamp,
    overrides: &SeverityOverrides,
) -> Result<Normalized, NormalizeError> {
    let override_severity = overrides.severity(Subject::from(&event));
    let mut extra = Map::new();
    let (first, last) = times(&event, received, &mut extra);
    let count = event
        .series
        .as_ref()
        .and_then(|s| s.count)
        .max(event.count)
        .unwrap_or(1)
        .max(1);

    let uid = event
        .metadata
        .uid
        .filter(|uid| !uid.is_empty())
        .ok_or(NormalizeError::NoUid)?;
    let version = event
        .metadata
        .resource_version
        .filter(|v| !v.is_empty())
        .ok_or(NormalizeError::NoResourceVersion)?;
    let reason = event.reason.unwrap_or_default();
    let description = event.message.unwrap_or_default();
    let kube_type = event.kind.unwrap_or_default();
    let component = present(event.reporting_component)
        .or(present(event.source.component))
        .unwrap_or_default();
    let kind = event.involved_object.kind.unwrap_or_default();
    let name = event.involved_object.name.unwrap_or_default();
    let api_version = event.involved_object.api_version.unwrap_or_default();
    let api_group = api_version
        .split_once('/')
        .map_or("", |(group, _)| group)
        .to_owned();
    let api_group = if is_own_group(&api_group) {
        String::new()
    } else {
        extra.insert("api_group".to_owned(), api_group.clone().into());
        api_group
    };
    let node = present(event.source.host)
        .or_else(|| present(event.reporting_instance).filter(|_| component == "kubelet"))
        .or_else(|| (kind == "Node" && !name.is_empty()).then(|| name.clone()));
    if let Some(annotations) = event.metadata.annotations {
        let kept = annotations
            .into_iter()
            .filter(|(key, _)| key != LAST_APPLIED);
        let kept: Map<String, Value> = kept
            .map(|(key, value)| (key, Value::String(value)))
            .collect();
        if !kept.is_empty() {
            extra.insert("annotations".to_owned(), Value::Object(kept));
        }
    }

    let Classification {
        severity,
        title,
        known,
    } = classify(Sent {
        reason: &reason,
        component: &component,
        kube_type: &kube_type,
        kind: &kind,
        message: &description,
    });
    let record = Record {
        event_type: EventType::Cluster,
        severity: override_severity.unwrap_or(severity),
        title: title.into_owned(),
        description,
        container: event
            .involved_object
            .field_path
            .as_deref()
            .and_then(container)
            .unwrap_or_default()
            .to_owned(),
        object: (!kind.is_empty() || !name.is_empty()).then(|| ObjectRef {
            kind,
            namespace: event.involved_object.namespace.unwrap_or_default(),
            name,
        }),
        api_group,
        owner: None,
        reason,
        component,
        kube_type,
        node,
        extra,
        occurred: Occurred::Observed(Observation {
            uid: Uid::new(&uid),
            version: ResourceVersion::new(&version),
            count,
            first,
            last,
        }),
    };
    Ok(Normalized {
        record,
        unknown_reason: !known,
    })
}

fn present(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// First and last occurrence. An implausible time becomes the receive time; its original goes to `extra`.
fn times(
    event: &KubeEvent,
    received: Timestamp,
    extra: &mut Map<String, Value>,
) -> (Timestamp, Timestamp) {
    fn set(time: &Option<String>) -> Option<&str> {
        let is_unset = |text: &str| UNSET_DAYS.iter().any(|day| text.starts_with(day));
        time.as_deref()
            .filter(|text| !text.is_empty() && !is_unset(text))
    }
    let (single, created) = (
        set(&event.event_time),
        set(&event.metadata.creation_timestamp),
    );
    let repeated = event
        .series
        .as_ref()
        .and_then(|series| set(&series.last_observed_time));
    let last = repeated
        .or_else(|| set(&event.last_timestamp))
        .or(single)
        .or(created);
    let first = set(&event.first_timestamp).or(single).or(created);

    let mut suspect = Map::new();
    let mut believe = |key: &str, given: Option<&str>| match given.and_then(Timestamp::from_api) {
        Some(time) if time <= received.plus(CLOCK_AHEAD_MAX) => time,
        _ => {
            suspect.insert(
                key.to_owned(),
                Value::String(given.unwrap_or("missing").to_owned()),
            );
            received
        }
    };
    let last = believe("last_timestamp", last);
    let first = believe("first_timestamp", first).min(last);
    if !suspect.is_empty() {
        extra.insert(TIME_SUSPECT.to_owned(), Value::Object(suspect));
    }
    (first, last)
}

/// The container that a field path such as `spec.initContainers{setup}` names.
fn container(field_path: &str) -> Option<&str> {
    let (list, rest) = field_path.split_once('{')?;
    let of_pod = matches!(
        list,
        "spec.containers" | "spec.initContainers" | "spec.ephemeralContainers"
    );
    rest.strip_suffix('}').filter(|_| of_pod)
}

#[cfg(test)]
mod tests {
    use kube9_model::Severity;
    use serde_json::json;

    use super::*;
    use crate::decode::decode_event;
    use crate::filter::{Match, OverrideRule};

    const RECEIVED: &str = "2026-01-01T12:00:00Z";

    /// Normalizes an Event with an identity and the given further fields.
    fn normalized(mut fields: Value) -> Record {
        let metadata = fields
            .as_object_mut()
            .unwrap()
            .entry("metadata")
            .or_insert_with(|| json!({}));
        metadata["uid"] = json!("u");
        metadata["resourceVersion"] = json!("7");
        let event = decode_event(fields.to_string().as_bytes()).unwrap();
        normalize(
            event,
            Timestamp::parse(RECEIVED).unwrap(),
            &SeverityOverrides::default(),
        )
        .unwrap()
        .record
    }

    fn observed(record: &Record) -> &Observation {
        match &record.occurred {
            Occurred::Observed(observation) => observation,
            Occurred::At(_) => panic!("an Event is an observation"),
        }
    }

    #[test]
    fn normalize_crash_loop_event() {
        let record = normalized(json!({
            "reason": "CrashLoopBackOff", "message": "Back-off restarting failed container", "type": "Warning",
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "nginx"},
        }));
        assert_eq!(record.event_type, EventType::Cluster);
        assert_eq!(
            (record.severity, record.title.as_str()),
            (Severity::Error, "Container crash loop")
        );
        let object = ObjectRef {
            kind: "Pod".into(),
            namespace: "default".into(),
            name: "nginx".into(),
        };
        assert_eq!(record.object, Some(object));
    }

    #[test]
    fn normalize_both_forms_times_and_counts() {
        let (a, b, c, d) = (
            "2026-01-01T10:00:00.000Z",
            "2026-01-01T10:01:00.000Z",
            "2026-01-01T10:02:00.000Z",
            "2026-01-01T10:03:00.000Z",
        );
        for (fields, first, last, count) in [
            (
                json!({"firstTimestamp": a, "lastTimestamp": b, "count": 3}),
                a,
                b,
                3,
            ),
            (json!({"eventTime": a}), a, a, 1),
            (
                json!({"eventTime": a, "series": {"count": 5, "lastObservedTime": c}}),
                a,
                c,
                5,
            ),
            (
                json!({"eventTime": a, "count": 9, "series": {"count": 5}}),
                a,
                a,
                9,
            ),
            (
                json!({"firstTimestamp": a, "lastTimestamp": b, "eventTime": c, "series": {"lastObservedTime": d}}),
                a,
                d,
                1,
            ),
            (json!({"metadata": {"creationTimestamp": b}}), b, b, 1),
            (
                json!({"metadata": {"creationTimestamp": b}, "lastTimestamp": c}),
                b,
                c,
                1,
            ),
            (json!({"firstTimestamp": c, "lastTimestamp": b}), b, b, 1),
            (
                json!({"firstTimestamp": a, "lastTimestamp": b, "count": -4}),
                a,
                b,
                1,
            ),
            (
                json!({"firstTimestamp": "", "lastTimestamp": "0001-01-01T00:00:00Z", "eventTime": a}),
                a,
                a,
                1,
            ),
            (
                json!({"firstTimestamp": "1970-01-01T00:00:00Z", "lastTimestamp": "1970-01-01T00:00:09Z",
                       "eventTime": "0001-01-01T00:00:00.000000Z", "metadata": {"creationTimestamp": b}}),
                b,
                b,
                1,
            ),
            (
                json!({"eventTime": "2026-01-01T11:01:00.000999+01:00"}),
                "2026-01-01T10:01:00.000Z",
                b,
                1,
            ),
            (
                json!({"eventTime": "2026-01-01T12:05:00Z"}),
                "2026-01-01T12:05:00.000Z",
                "2026-01-01T12:05:00.000Z",
                1,
            ),
        ] {
            let record = normalized(fields.clone());
            let seen = observed(&record);
            let (got_first, got_last) = (seen.first.to_string(), seen.last.to_string());
            assert_eq!(
                (got_first.as_str(), got_last.as_str(), seen.count),
                (first, last, count),
                "{fields}"
            );
            assert!(record.extra.is_empty(), "{fields}");
        }
    }

    #[test]
    fn normalize_implausible_time_becomes_the_receive_time() {
        let received = "2026-01-01T12:00:00.000Z";
        let good = "2026-01-01T10:00:00.000Z";
        for (fields, first, suspect) in [
            (
                json!({"lastTimestamp": "2026-01-01T12:05:00.001Z", "firstTimestamp": good}),
                good,
                json!({"last_timestamp": "2026-01-01T12:05:00.001Z"}),
            ),
            (
                json!({"eventTime": "1969-12-31T23:59:59Z"}),
                received,
                json!({"last_timestamp": "1969-12-31T23:59:59Z", "first_timestamp": "1969-12-31T23:59:59Z"}),
            ),
            (
                json!({"lastTimestamp": "soon", "firstTimestamp": good}),
                good,
                json!({"last_timestamp": "soon"}),
            ),
            (
                json!({"eventTime": "99999-01-01T00:00:00Z"}),
                received,
                json!({"last_timestamp": "99999-01-01T00:00:00Z", "first_timestamp": "99999-01-01T00:00:00Z"}),
            ),
            (
                json!({}),
                received,
                json!({"last_timestamp": "missing", "first_timestamp": "missing"}),
            ),
        ] {
            let record = normalized(fields.clone());
            let seen = observed(&record);
            assert_eq!(
                (
                    seen.first.to_string().as_str(),
                    seen.last.to_string().as_str()
                ),
                (first, received),
                "{fields}"
            );
            assert_eq!(record.extra["time_suspect"], suspect, "{fields}");
        }
        // Only the first is wrong: the last is kept, and the first is not after it.
        let record = normalized(json!({"lastTimestamp": good, "firstTimestamp": "never"}));
        assert_eq!(
            (
                observed(&record).first.to_string(),
                observed(&record).last.to_string()
            ),
            (good.into(), good.into())
        );
    }

    #[test]
    fn normalize_reporter_and_node() {
        let node = json!({"kind": "Node", "name": "n1"});
        for (fields, component, at) in [
            (
                json!({"source": {"component": "kubelet", "host": "n1"}}),
                "kubelet",
                Some("n1"),
            ),
            (
                json!({"reportingComponent": "kubelet", "reportingInstance": "n2", "source": {}}),
                "kubelet",
                Some("n2"),
            ),
            (
                json!({"reportingComponent": "", "source": {"component": "old"}}),
                "old",
                None,
            ),
            (
                json!({"reportingComponent": "new", "reportingInstance": "new-x", "source": {"component": "old"}}),
                "new",
                None,
            ),
            (
                json!({"reportingComponent": "node-controller", "involvedObject": node}),
                "node-controller",
                Some("n1"),
            ),
            (json!({"involvedObject": {"kind": "Node"}}), "", None),
            (
                json!({"involvedObject": {"kind": "Pod", "name": "p"}}),
                "",
                None,
            ),
            (json!({}), "", None),
        ] {
            let record = normalized(fields.clone());
            assert_eq!(
                (record.component.as_str(), record.node.as_deref()),
                (component, at),
                "{fields}"
            );
        }
    }

    #[test]
    fn normalize_object_and_container() {
        for (path, container) in [
            ("spec.containers{app}", "app"),
            ("spec.initContainers{setup}", "setup"),
            ("spec.ephemeralContainers{debug}", "debug"),
            ("spec.containers[0]", ""),
            ("spec.volumes{data}", ""),
            ("spec.containers{", ""),
            ("", ""),
        ] {
            let record = normalized(
                json!({"involvedObject": {"kind": "Pod", "name": "p", "fieldPath": path}}),
            );
            assert_eq!(record.container, container, "{path}");
        }
        assert_eq!(
            normalized(json!({"involvedObject": {"namespace": "shop", "kind": ""}})).object,
            None
        );
        assert_eq!(normalized(json!({"involvedObject": null})).object, None);
        let nameless = normalized(json!({"involvedObject": {"kind": "Pod"}}))
            .object
            .unwrap();
        assert_eq!(
            (nameless.kind.as_str(), nameless.name.as_str()),
            ("Pod", "")
        );
    }

    #[test]
    fn normalize_keeps_annotations_except_last_applied_configuration() {
        let record = normalized(
            json!({"metadata": {"annotations": {"a": "1", LAST_APPLIED: "{}"}}, "eventTime": RECEIVED}),
        );
        assert_eq!(
            Value::Object(record.extra),
            json!({"annotations": {"a": "1"}})
        );
        let record = normalized(
            json!({"metadata": {"annotations": {LAST_APPLIED: "{}"}}, "eventTime": RECEIVED}),
        );
        assert!(record.extra.is_empty());
    }

    #[test]
    fn normalize_event_without_identity_is_an_error() {
        let received = Timestamp::parse(RECEIVED).unwrap();
        for (metadata, error) in [
            ("{}", NormalizeError::NoUid),
            (r#"{"uid":"","resourceVersion":"1"}"#, NormalizeError::NoUid),
            (r#"{"uid":"u"}"#, NormalizeError::NoResourceVersion),
            (
                r#"{"uid":"u","resourceVersion":""}"#,
                NormalizeError::NoResourceVersion,
            ),
        ] {
            let event = decode_event(format!("{{\"metadata\":{metadata}}}").as_bytes()).unwrap();
            assert_eq!(
                normalize(event, received, &SeverityOverrides::default()),
                Err(error),
                "{metadata}"
            );
        }
    }

    #[test]
    fn normalize_override_and_unknown_reason_are_reported() {
        let matches = Match {
            reasons: Some(vec!["Frob*".into()]),
            ..Match::default()
        };
        let overrides = SeverityOverrides::new(&[OverrideRule {
            matches,
            severity: "critical".into(),
        }])
        .unwrap();
        let event = |reason: &str| {
            let json = json!({"metadata": {"uid": "u", "resourceVersion": "1"}, "type": "Warning", "reason": reason});
            decode_event(json.to_string().as_bytes()).unwrap()
        };
        let received = Timestamp::parse(RECEIVED).unwrap();
        let unknown = normalize(event("FrobFailed"), received, &overrides).unwrap();
        assert!(unknown.unknown_reason);
        assert_eq!(
            (unknown.record.severity, unknown.record.title.as_str()),
            (Severity::Critical, "Frob failed")
        );
        let known = normalize(event("BackOff"), received, &overrides).unwrap();
        assert!(!known.unknown_reason);
        assert_eq!(known.record.severity, Severity::Warning);
    }
}
