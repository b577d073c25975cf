//! What a caller asks for: plain data, checked, in the caller's words.

use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};

/// A filter that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFilter {
    /// An empty value would match nothing.
    #[error("the value is empty")]
    EmptyValue,
    /// A glob that can never match.
    #[error("{0:?} has a '[' without its ']'")]
    UnclosedBracket(String),
    /// An empty range.
    #[error("since ({since}) must be before until ({until})")]
    EmptyRange {
        /// Start, inclusive.
        since: Timestamp,
        /// End, exclusive.
        until: Timestamp,
    },
}

/// A name, or a glob: `*` any text, `?` one character, `[a-c]` one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// The whole name.
    Exact(String),
    /// A glob.
    Glob(String),
}

impl Pattern {
    /// A glob where the text has one of `*`, `?`, `[`, which no Kubernetes name has; else the exact name.
    pub fn parse(text: &str) -> Result<Self, BadFilter> {
        if text.is_empty() {
            return Err(BadFilter::EmptyValue);
        }
        if !text.contains(['*', '?', '[']) {
            return Ok(Self::Exact(text.to_owned()));
        }
        if has_unclosed_bracket(text) {
            return Err(BadFilter::UnclosedBracket(text.to_owned()));
        }
        Ok(Self::Glob(text.to_owned()))
    }
}

/// As SQLite's GLOB reads brackets: the first character after `[` or `[^` is a member even if it is `]`.
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

/// One object or a family of them: `KIND/NAME[/NAMESPACE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectPattern {
    /// Kind; compared without regard to case.
    pub kind: Pattern,
    /// Name.
    pub name: Pattern,
    /// Namespace; any where absent.
    pub namespace: Option<Pattern>,
}

/// A controller: `[KIND/]NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerPattern {
    /// Kind; compared without regard to case; any where absent.
    pub kind: Option<Pattern>,
    /// Name.
    pub name: Pattern,
}

/// Which rows. Values of one field are alternatives; fields are combined with "and"; an empty field asks nothing.
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
    /// Object kinds, without regard to case.
    pub kinds: Vec<Pattern>,
    /// Object namespaces. Never matches rows without one.
    pub namespaces: Vec<Pattern>,
    /// Object names.
    pub names: Vec<Pattern>,
    /// Whole objects.
    pub about: Vec<ObjectPattern>,
    /// Reasons, without regard to case.
    pub reasons: Vec<Pattern>,
    /// Controllers of the objects.
    pub owners: Vec<OwnerPattern>,
    /// Nodes.
    pub nodes: Vec<Pattern>,
    /// Containers within the objects.
    pub containers: Vec<Pattern>,
    /// Text in title, description, object name or reason, without regard to (ASCII) case.
    pub search: Option<String>,
}

impl Filter {
    /// Says what cannot be meant.
    pub fn check(&self) -> Result<(), BadFilter> {
        if self.search.as_deref() == Some("") {
            return Err(BadFilter::EmptyValue);
        }
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => {
                Err(BadFilter::EmptyRange { since, until })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_wildcard_is_a_glob() {
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
                Err(BadFilter::UnclosedBracket(bad.into()))
            );
        }
        assert_eq!(Pattern::parse(""), Err(BadFilter::EmptyValue));
    }

    #[test]
    fn a_search_for_nothing_is_refused() {
        let search = |text: &str| Filter {
            search: Some(text.to_owned()),
            ..Filter::default()
        };
        assert_eq!(search("").check(), Err(BadFilter::EmptyValue));
        assert_eq!(search("x").check(), Ok(()));
    }

    #[test]
    fn range_must_hold_a_moment() {
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
