//! Types of a row: plain data. They are not serializable, since that would make them part of an interface.

use std::fmt;
use std::str::FromStr;

/// A word outside a closed set; lists the accepted words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {given:?}; valid values: {valid}")]
pub struct UnknownWord {
    /// What kind of word was expected, e.g. "severity".
    pub what: &'static str,
    /// The word that was given.
    pub given: String,
    /// The valid words, comma-separated.
    pub valid: String,
}

/// A closed set of words, each stored in the database as a small integer.
macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident, $what:literal, { $($(#[$vdoc:meta])* $variant:ident = $code:literal => $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant = $code),+ }

        impl $name {
            /// Every value, in the order of its code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in the contract.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The integer that the database stores.
            pub const fn code(self) -> i64 {
                self as i64
            }

            /// The value with that code.
            pub fn from_code(code: i64) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.code() == code)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|v| v.as_str().eq_ignore_ascii_case(word)).ok_or_else(|| UnknownWord {
                    what: $what,
                    given: word.to_owned(),
                    valid: Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

closed_set!(
    /// Where a row comes from.
    EventType, "event type", {
        /// A Kubernetes Event, or a change of an object seen by an informer.
        Cluster = 0 => "cluster",
        /// kube9's own life: started, stopped, upgraded, permission missing.
        Operator = 1 => "operator",
        /// Several observations over time that together mean something.
        Insight = 2 => "insight",
        /// A risk in the static spec of an object.
        Assessment = 3 => "assessment",
        /// Something unhealthy at run time.
        Health = 4 => "health",
        /// The store and the watch: gaps, drops, retention, disk.
        System = 5 => "system",
    }
);

/// The integer that the database stores as the type of a row about a change of a tracked object. The row is of type
/// cluster; an integer of its own makes changes countable without reading them.
pub const CHANGE_CODE: i64 = 6;

impl EventType {
    /// The event type of a row by the integer that the database stores.
    pub fn of_row(code: i64) -> Option<Self> {
        match code {
            CHANGE_CODE => Some(Self::Cluster),
            code => Self::from_code(code),
        }
    }

    /// The integers that rows of this type have in the database.
    pub fn row_codes(self) -> impl Iterator<Item = i64> {
        let changes = (self == Self::Cluster).then_some(CHANGE_CODE);
        std::iter::once(self.code()).chain(changes)
    }
}

closed_set!(
    /// How bad a row is. Ordered: `Info < Warning < Error < Critical`.
    Severity, "severity", {
        /// Normal operation.
        Info = 0 => "info",
        /// Worth checking if something else is wrong.
        Warning = 1 => "warning",
        /// Something does not work.
        Error = 2 => "error",
        /// Needs a person now.
        Critical = 3 => "critical",
    }
);

/// The Kubernetes object that a row is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Kind as the API server writes it, e.g. `Pod`.
    pub kind: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Whom a row counts for where space is shared fairly: a namespace, the objects without one, or kube9 itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tenant {
    /// Rows without an object: kube9's own.
    Kube9,
    /// Rows of objects without a namespace.
    ClusterScoped,
    /// Rows of objects of this namespace.
    Namespace(Box<str>),
}

impl Tenant {
    /// From the object's namespace: none for a row without an object, empty for an object without a namespace.
    pub fn of(namespace: Option<&str>) -> Self {
        match namespace {
            None => Self::Kube9,
            Some("") => Self::ClusterScoped,
            Some(namespace) => Self::Namespace(namespace.into()),
        }
    }

    /// The number and the namespace that the database stores.
    pub fn stored(&self) -> (i64, &str) {
        match self {
            Self::Kube9 => (0, ""),
            Self::ClusterScoped => (1, ""),
            Self::Namespace(namespace) => (2, namespace),
        }
    }

    /// From what the database stores.
    pub fn from_stored(code: i64, namespace: &str) -> Self {
        match code {
            0 => Self::Kube9,
            1 => Self::ClusterScoped,
            _ => Self::Namespace(namespace.into()),
        }
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kube9 => f.write_str("kube9's own rows"),
            Self::ClusterScoped => f.write_str("cluster-scoped objects"),
            Self::Namespace(namespace) => write!(f, "namespace {namespace}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enum_word_and_code_round_trip() {
        for t in EventType::ALL {
            assert_eq!(t.as_str().parse::<EventType>().unwrap(), *t);
            assert_eq!(EventType::from_code(t.code()), Some(*t));
        }
        for s in Severity::ALL {
            assert_eq!(s.as_str().parse::<Severity>().unwrap(), *s);
            assert_eq!(Severity::from_code(s.code()), Some(*s));
        }
    }

    #[test]
    fn parse_unknown_word_error_lists_valid_values() {
        let error = "fatal".parse::<Severity>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown severity \"fatal\"; valid values: info, warning, error, critical"
        );
    }
}
