//! A filter as the caller writes it: plain, validated data.

use kube9_model::change::path;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};

/// The filter is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// A value is empty, which would match nothing.
    #[error("the value is empty")]
    EmptyValue,
    /// A glob that can never match.
    #[error("unclosed '[' in {0:?}")]
    UnclosedBracket(String),
    /// The time range is empty.
    #[error("since ({since}) must be before until ({until})")]
    EmptyRange {
        /// Start, inclusive.
        since: Timestamp,
        /// End, exclusive.
        until: Timestamp,
    },
}

/// A name, or a glob: `*` matches any text, `?` one character, `[a-c]` one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// The whole name.
    Exact(String),
    /// A glob.
    Glob(String),
}

impl Pattern {
    /// A glob if the text contains `*`, `?` or `[`, which no Kubernetes name contains; else the exact name.
    pub fn parse(text: &str) -> Result<Self, InvalidFilter> {
        if text.is_empty() {
            return Err(InvalidFilter::EmptyValue);
        }
        if !text.contains(['*', '?', '[']) {
            return Ok(Self::Exact(text.to_owned()));
        }
        if has_unclosed_bracket(text) {
            return Err(InvalidFilter::UnclosedBracket(text.to_owned()));
        }
        Ok(Self::Glob(text.to_owned()))
    }
}

/// As SQLite's GLOB parses brackets: the first character after `[` or `[^` is a member even if it is `]`.
fn has_unclosed_bracket(glob: &str) -> bool {
    let mut rest = glob;
    while let Some((_, after)) = rest.split_once('[') {
        let members = after.strip_prefix('^').unwrap_or(after);
        let mut chars = members.chars();
        chars.next();
        match chars.as_str().split_once(']') {
            Some((_, after)) => rest = after,
            None => return true,
        }
    }
    false
}

/// A kind, or several by a glob; case-insensitive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindPattern {
    /// What the kind may be called: a plural of a kind that kube9 does not know may have several singulars.
    pub names: Vec<Pattern>,
    /// API group of a custom resource, empty for Kubernetes' own groups; `None` matches any.
    pub group: Option<String>,
}

impl From<Pattern> for KindPattern {
    /// In any group.
    fn from(name: Pattern) -> Self {
        Self {
            names: vec![name],
            group: None,
        }
    }
}

/// One object, or several by globs: `KIND/NAME[/NAMESPACE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPattern {
    /// Kind.
    pub kind: KindPattern,
    /// Name.
    pub name: Pattern,
    /// Namespace; `None` matches any.
    pub namespace: Option<Pattern>,
}

/// A controller: `[KIND/]NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerPattern {
    /// Kind; `None` matches any.
    pub kind: Option<KindPattern>,
    /// Name.
    pub name: Pattern,
}

/// Selects rows about changes of objects. Values of one field are alternatives; an empty field matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// Managers who made the change, as they called themselves.
    pub by: Vec<Pattern>,
    /// Changed fields. A row that does not list all its fields matches too.
    pub paths: Vec<path::Pattern>,
    /// What happened to the object: `created`, `changed`, `deleting`, `deleted`.
    pub ops: Vec<&'static str>,
    /// Why the object was deleted.
    pub causes: Vec<Pattern>,
    /// New values of a field; of one of `paths`, if there are any. A row that does not list all its fields matches too.
    pub to_values: Vec<Pattern>,
    /// Only fields whose changes often break something.
    pub risky: bool,
}

/// Selects rows. Values of one field are alternatives; a row must match every field; an empty field matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Event types.
    pub types: Vec<EventType>,
    /// Severities.
    pub severities: Vec<Severity>,
    /// Start, inclusive: the row's last occurrence is at or after it.
    pub since: Option<Timestamp>,
    /// End, exclusive: the row's `created_at` is before it.
    pub until: Option<Timestamp>,
    /// Object kinds.
    pub kinds: Vec<KindPattern>,
    /// Object namespaces. Never match rows without a namespace.
    pub namespaces: Vec<Pattern>,
    /// Object names.
    pub names: Vec<Pattern>,
    /// Objects.
    pub objects: Vec<ObjectPattern>,
    /// Reasons, case-insensitive.
    pub reasons: Vec<Pattern>,
    /// Controllers of the objects.
    pub owners: Vec<OwnerPattern>,
    /// Nodes.
    pub nodes: Vec<Pattern>,
    /// Containers within the objects.
    pub containers: Vec<Pattern>,
    /// Text in title, description, object name or reason; ASCII case-insensitive.
    pub search: Option<String>,
    /// Changes of objects; `None` matches all rows.
    pub changes: Option<ChangeFilter>,
    /// Findings, by the rows that opened them; `None` matches all rows.
    pub findings: Option<FindingStates>,
}

/// Which findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingStates {
    /// Open and closed ones.
    All,
    /// Those whose problem still exists.
    Open,
    /// Those whose problem has ended.
    Closed,
}

impl Filter {
    /// Checks that the filter is valid.
    pub fn check(&self) -> Result<(), InvalidFilter> {
        if self.search.as_deref() == Some("") {
            return Err(InvalidFilter::EmptyValue);
        }
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => {
                Err(InvalidFilter::EmptyRange { since, until })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_with_wildcard_is_glob() {
        assert_eq!(
            Pattern::parse("web-1").unwrap(),
            Pattern::Exact("web-1".into())
        );
        for glob in ["web-*", "w?b", "web-[0-9]", "[^a]*", "[]]x", "[^]]"] {
            assert_eq!(Pattern::parse(glob).unwrap(), Pattern::Glob(glob.into()));
        }
        for bad in ["web-[0", "[", "[]", "[^]", "a[b]c["] {
            assert_eq!(
                Pattern::parse(bad),
                Err(InvalidFilter::UnclosedBracket(bad.into()))
            );
        }
        assert_eq!(Pattern::parse(""), Err(InvalidFilter::EmptyValue));
    }

    #[test]
    fn check_empty_search_is_rejected() {
        let search = |text: &str| Filter {
            search: Some(text.to_owned()),
            ..Filter::default()
        };
        assert_eq!(search("").check(), Err(InvalidFilter::EmptyValue));
        assert_eq!(search("x").check(), Ok(()));
    }

    #[test]
    fn check_empty_range_is_rejected() {
        let at = |seconds| Some(Timestamp::from_secs(seconds));
        assert!(
            Filter {
                since: at(1),
                until: at(2),
                ..Filter::default()
            }
            .check()
            .is_ok()
        );
        assert!(
            Filter {
                since: at(2),
                until: at(2),
                ..Filter::default()
            }
            .check()
            .is_err()
        );
        assert!(
            Filter {
                since: at(3),
                until: at(2),
                ..Filter::default()
            }
            .check()
            .is_err()
        );
    }
}
