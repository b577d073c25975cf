//! Columns by which rows can be grouped: the integer that SQL groups by, and its label.

use std::collections::HashMap;

use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};

/// A column by which rows can be grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// Event type.
    Type,
    /// Severity.
    Severity,
    /// Namespace of the object.
    Namespace,
    /// Kind of the object.
    Kind,
    /// Name of the object.
    Name,
    /// Reason.
    Reason,
    /// Node.
    Node,
    /// Controller of the object, `Kind/name`.
    Owner,
    /// Container.
    Container,
    /// Day of `created_at`, UTC.
    Day,
    /// Hour of `created_at`, UTC.
    Hour,
}

impl GroupBy {
    /// Every column.
    pub const ALL: [Self; 11] = [
        Self::Type,
        Self::Severity,
        Self::Namespace,
        Self::Kind,
        Self::Name,
        Self::Reason,
        Self::Node,
        Self::Owner,
        Self::Container,
        Self::Day,
        Self::Hour,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Severity => "severity",
            Self::Namespace => "namespace",
            Self::Kind => "kind",
            Self::Name => "name",
            Self::Reason => "reason",
            Self::Node => "node",
            Self::Owner => "owner",
            Self::Container => "container",
            Self::Day => "day",
            Self::Hour => "hour",
        }
    }

    /// SQL of the integer of a row of `event e` by which it is grouped first.
    pub(super) const fn sql(self) -> &'static str {
        match self {
            Self::Type => "iif(e.type = 6, 0, e.type)",
            Self::Severity => "e.severity",
            // -1 for an object that is missing, which is damage and not a row without an object.
            Self::Namespace | Self::Kind => {
                "ifnull((SELECT o.scope FROM object o WHERE o.id = e.object), nullif(-(e.object IS NOT NULL), 0))"
            }
            Self::Name => "e.object",
            Self::Owner => {
                "(SELECT w.id FROM object o JOIN object w ON w.id = o.owner WHERE o.id = e.object)"
            }
            Self::Reason | Self::Container => "e.class",
            Self::Node => "e.node",
            Self::Day => "(e.key >> 24) / 86400",
            Self::Hour => "(e.key >> 24) / 3600",
        }
    }

    /// Statement that looks up the label of that integer, if a table holds it.
    pub(super) const fn lookup_sql(self) -> Option<&'static str> {
        match self {
            Self::Namespace => Some("SELECT nullif(namespace, '') FROM scope WHERE id = ?"),
            Self::Kind => Some("SELECT kind FROM scope WHERE id = ?"),
            Self::Name => Some("SELECT name FROM object WHERE id = ?"),
            Self::Owner => Some(
                "SELECT s.kind || '/' || o.name FROM object o JOIN scope s ON s.id = o.scope WHERE o.id = ?",
            ),
            Self::Reason => Some("SELECT nullif(reason, '') FROM event_class WHERE id = ?"),
            Self::Container => Some("SELECT nullif(container, '') FROM event_class WHERE id = ?"),
            Self::Node => Some("SELECT name FROM node WHERE id = ?"),
            Self::Type | Self::Severity | Self::Day | Self::Hour => None,
        }
    }

    /// Label of an integer that needs no lookup.
    pub(super) fn label(self, number: i64) -> Option<String> {
        match self {
            Self::Type => EventType::from_code(number).map(|t| t.to_string()),
            Self::Severity => Severity::from_code(number).map(|s| s.to_string()),
            Self::Day => Some(
                Timestamp::from_secs(number.saturating_mul(86_400)).to_string()[..10].to_owned(),
            ),
            Self::Hour => Some(format!(
                "{}:00Z",
                &Timestamp::from_secs(number.saturating_mul(3_600)).to_string()[..13]
            )),
            _ => None,
        }
    }
}

/// Number of rows by their labels.
pub(super) type Counts = HashMap<Vec<Option<String>>, u64>;
