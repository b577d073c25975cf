//! What is known about the fields of a kind.

use std::sync::OnceLock;

use super::automaton::{Automaton, State};
use super::path::{Path, Pattern, Step};
use crate::hash::stable_hash;

/// The fields that together are the identity of an element; `metadata.name` is a field of a field.
pub type Identity = &'static [&'static str];

/// What a line of a kind's table says about the fields that its pattern matches.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// Not in the body.
    Drop,
    /// In the body, also inside [`Only`](Self::Only).
    Keep,
    /// Of what is inside, only what another line keeps.
    Only,
    /// Each value inside is stored as a mark.
    Hide,
    /// The whole is stored as one mark with its size.
    Opaque,
    /// A list whose elements have one of these identities, the first that all of them have.
    List(&'static [Identity]),
    /// A list whose order matters.
    Ordered,
    /// One element before and one after are the same element, whatever their identities.
    Single,
    /// Makes no row when it goes from absent to set.
    SilentWhenSet,
    /// Makes no row when it goes from absent to set or back.
    SilentUnlessReplaced,
    /// Makes no row unless a deletion waits for it.
    SilentUnlessDeleting,
    /// Makes no row when it goes from absent or from this text to another.
    SilentFrom(&'static str),
    /// Makes no row.
    Silent,
    /// A map that makes no row when it is removed, or has `true` at this path.
    SilentIfTrue(&'static [&'static str]),
    /// A list whose elements make no row if their identity begins with one of these and a slash.
    SilentElements(&'static [&'static str]),
    /// A change of it often breaks something.
    Risky,
    /// An autoscaler changes it for as long as the load changes.
    Swings,
}

/// How much of a field is in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Selection {
    /// As much as of the field that it is in.
    #[default]
    Inherited,
    /// See [`Rule::Drop`].
    Drop,
    /// See [`Rule::Keep`].
    Keep,
    /// See [`Rule::Only`].
    Only,
    /// See [`Rule::Hide`].
    Hide,
    /// See [`Rule::Opaque`].
    Opaque,
}

/// When a change of a field makes no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Silence {
    /// Never.
    #[default]
    Never,
    /// See [`Rule::SilentWhenSet`].
    WhenSet,
    /// See [`Rule::SilentUnlessReplaced`].
    UnlessReplaced,
    /// See [`Rule::SilentUnlessDeleting`].
    UnlessDeleting,
    /// See [`Rule::SilentFrom`].
    From(&'static str),
    /// See [`Rule::Silent`].
    Always,
}

/// What a kind's table says about one field.
#[derive(Debug, Default)]
pub struct Field {
    /// How much of it is in the body.
    pub selection: Selection,
    /// Inside it there may be a field that is kept.
    pub leads_to_kept: bool,
    /// Inside it there may be a field that is not in the body.
    pub leads_to_dropped: bool,
    /// The identities that its elements may have.
    pub identities: &'static [Identity],
    /// The order of its elements matters.
    pub ordered: bool,
    /// See [`Rule::Single`].
    pub single: bool,
    /// When it makes no row.
    pub silence: Silence,
    /// See [`Rule::SilentElements`].
    pub silent_elements: &'static [&'static str],
    /// See [`Rule::SilentIfTrue`].
    pub silent_if_true: Option<&'static [&'static str]>,
    /// See [`Rule::Risky`].
    pub risky: bool,
    /// See [`Rule::Swings`].
    pub swings: bool,
}

impl Field {
    fn join(here: &[&Rule], inside: &[&Rule]) -> Self {
        let mut field = Self {
            leads_to_kept: inside.iter().any(|rule| matches!(rule, Rule::Keep)),
            leads_to_dropped: inside
                .iter()
                .any(|rule| matches!(rule, Rule::Drop | Rule::Only)),
            ..Self::default()
        };
        for rule in here {
            match rule {
                // A later line overrides an earlier one.
                Rule::Drop => field.selection = Selection::Drop,
                Rule::Keep => field.selection = Selection::Keep,
                Rule::Only => field.selection = Selection::Only,
                Rule::Hide => field.selection = Selection::Hide,
                Rule::Opaque => field.selection = Selection::Opaque,
                Rule::List(identities) => field.identities = identities,
                Rule::Ordered => field.ordered = true,
                Rule::Single => field.single = true,
                Rule::SilentWhenSet => field.silence = Silence::WhenSet,
                Rule::SilentUnlessReplaced => field.silence = Silence::UnlessReplaced,
                Rule::SilentUnlessDeleting => field.silence = Silence::UnlessDeleting,
                Rule::SilentFrom(text) => field.silence = Silence::From(text),
                Rule::Silent => field.silence = Silence::Always,
                Rule::SilentElements(identities) => field.silent_elements = identities,
                Rule::SilentIfTrue(path) => field.silent_if_true = Some(path),
                Rule::Risky => field.risky = true,
                Rule::Swings => field.swings = true,
            }
        }
        field
    }
}

/// A line of a kind's table. A pattern whose last key ends with `/*` matches all keys that begin so.
pub type Line = (&'static str, Rule);

/// The tables of a kind, the more general ones first, and the machine made of them.
#[derive(Debug)]
pub struct Rules {
    tables: &'static [&'static [Line]],
    custom: bool,
    compiled: OnceLock<Automaton<Field>>,
}

/// In custom resources nothing is known about a list but its elements.
const CUSTOM_IDENTITIES: &[Identity] = &[&["name"], &["id"], &["type"]];

impl Rules {
    /// The rules of a kind of Kubernetes itself.
    pub const fn new(tables: &'static [&'static [Line]]) -> Self {
        Self {
            tables,
            custom: false,
            compiled: OnceLock::new(),
        }
    }

    /// The rules of custom resources.
    pub const fn custom(tables: &'static [&'static [Line]]) -> Self {
        Self {
            tables,
            custom: true,
            compiled: OnceLock::new(),
        }
    }

    /// Whether the kind's schema is not known to kube9.
    pub const fn is_custom(&self) -> bool {
        self.custom
    }

    /// The machine that walks an object.
    pub fn automaton(&self) -> &Automaton<Field> {
        self.compiled.get_or_init(|| {
            let lines = self.tables.iter().copied().flatten();
            let patterns: Vec<(Pattern, Rule)> = lines
                .filter_map(|(text, rule)| Some((pattern(text)?, *rule)))
                .collect();
            Automaton::new(&patterns, Field::join)
        })
    }

    /// Changes with each line of the tables: bodies made by other rules cannot be compared.
    pub fn version(&self) -> u64 {
        let text = format!("{:?} {}", self.tables, self.custom);
        stable_hash(text.as_bytes())
    }

    /// What is known about a field.
    pub fn field(&self, state: State) -> &Field {
        self.automaton().at(state)
    }

    /// Whether changes of this field often break something.
    pub fn is_risky(&self, path: &Path) -> bool {
        let mut state = Automaton::<Field>::ROOT;
        path.segments().iter().any(|segment| {
            state = self.automaton().segment(state, segment);
            self.field(state).risky
        })
    }

    /// The identities that the elements of a list may have.
    pub fn identities(&self, state: State) -> &'static [Identity] {
        let known = self.field(state).identities;
        if known.is_empty() && self.custom {
            return CUSTOM_IDENTITIES;
        }
        known
    }

    /// The lines of the tables, for documents and tests.
    pub fn lines(&self) -> impl Iterator<Item = &'static Line> {
        self.tables.iter().copied().flatten()
    }
}

/// The pattern of a line; a test reads each line.
fn pattern(text: &str) -> Option<Pattern> {
    match text
        .strip_suffix("/*\"]")
        .and_then(|t| t.rsplit_once("[\""))
    {
        Some((parent, start)) => {
            let prefix = Step::Prefix(format!("{start}/").into());
            Some(Pattern::parse(parent).ok()?.then(prefix))
        }
        None => Pattern::parse(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::kinds;

    #[test]
    fn each_line_is_a_pattern() {
        let mut lines = 0;
        for kind in kinds::BUILT_IN.iter() {
            for (text, _) in kind.rules.lines() {
                assert!(pattern(text).is_some(), "{}: {text}", kind.kind);
                lines += 1;
            }
        }
        assert!(lines > 300, "{lines}");
    }
}
