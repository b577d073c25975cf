//! Which fields of an object are in its body, and which of them are hidden: one decision a field, by the kind's table and,
//! in custom resources, by names and shapes.

use kube9_model::change::automaton::{Automaton, State};
use kube9_model::change::rules::{Field, Rules, Selection};

/// Longest text of a custom resource that is not hidden.
const CUSTOM_TEXT_BYTES_MAX: usize = 128;

/// In custom resources everything is hidden under a name with one of these words.
const HIDING_WORDS: [&str; 5] = ["values", "data", "content", "parameters", "substitute"];

/// Depth of an object; what is deeper is one mark. Pod templates of custom resources reach 15.
pub(super) const DEPTH_MAX: u8 = 64;

/// How much of a field is in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// All of it.
    Keep,
    /// What another line of the table keeps.
    Only,
    /// All of it, its values hidden.
    Hide,
}

/// A field of the object.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) state: State,
    pub(super) mode: Mode,
    pub(super) depth: u8,
    /// It is the metadata of the object, or in that.
    pub(super) in_metadata: bool,
}

/// What is done with a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Choice {
    /// It is not in the body.
    Skip,
    /// It is, as the place says.
    Read(At),
    /// It is one mark.
    Opaque(At),
}

impl At {
    pub(super) const ROOT: Self = Self {
        state: Automaton::<Field>::ROOT,
        mode: Mode::Keep,
        depth: 0,
        in_metadata: false,
    };

    /// The metadata of the object.
    pub(super) fn metadata(rules: &Rules) -> Self {
        match Self::ROOT.field(rules, "metadata") {
            Choice::Read(at) => at,
            // No table says so; were it so, it would not be in the body.
            Choice::Skip | Choice::Opaque(_) => Self {
                state: Automaton::<Field>::DEAD,
                mode: Mode::Only,
                ..Self::ROOT
            },
        }
    }

    /// The same place, its values hidden.
    pub(super) const fn hidden(self) -> Self {
        Self {
            mode: Mode::Hide,
            ..self
        }
    }

    /// Whether everything inside is in the body.
    pub(super) fn is_whole(self, rules: &Rules) -> bool {
        self.mode != Mode::Only && !rules.field(self.state).leads_to_dropped
    }

    /// The value under a key.
    pub(super) fn field(self, rules: &Rules, key: &str) -> Choice {
        let state = rules.automaton().step(self.state, key);
        let choice = self.inner(rules, state);
        match choice {
            Choice::Read(mut at) => {
                at.in_metadata |= self.depth == 0 && key == "metadata";
                if rules.is_custom() && !at.in_metadata && is_hiding(key) && at.mode == Mode::Keep {
                    at.mode = Mode::Hide;
                }
                Choice::Read(at)
            }
            choice => choice,
        }
    }

    /// An element of a list.
    pub(super) fn element(self, rules: &Rules) -> Choice {
        self.inner(rules, rules.automaton().element(self.state))
    }

    fn inner(self, rules: &Rules, state: State) -> Choice {
        let field = rules.field(state);
        let at = |mode| Self {
            state,
            mode,
            depth: self.depth + 1,
            in_metadata: self.in_metadata,
        };
        match (field.selection, self.mode) {
            (Selection::Drop, _) => Choice::Skip,
            (Selection::Opaque, _) => Choice::Opaque(at(self.mode)),
            (Selection::Hide, _) | (_, Mode::Hide) => Choice::Read(at(Mode::Hide)),
            (Selection::Keep, _) => Choice::Read(at(Mode::Keep)),
            (Selection::Only, _) => Choice::Read(at(Mode::Only)),
            (Selection::Inherited, Mode::Only) if !field.leads_to_kept => Choice::Skip,
            (Selection::Inherited, mode) => Choice::Read(at(mode)),
        }
    }

    /// Whether a text at this place is hidden.
    pub(super) fn hides(self, rules: &Rules, text: &str) -> bool {
        self.mode == Mode::Hide
            || rules.is_custom()
                && (text.len() > CUSTOM_TEXT_BYTES_MAX || text.contains(['\n', '\r']))
    }
}

/// Whether everything under this name of a custom resource is hidden: `valuesObject`, `stringData`, `postBuild.substitute`.
fn is_hiding(key: &str) -> bool {
    // The metadata of a template, or of a trigger, is data about the object.
    if key == "metadata" || key.len() < 4 {
        return false;
    }
    let bytes = key.as_bytes();
    HIDING_WORDS.iter().any(|word| {
        bytes
            .windows(word.len())
            .any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    })
}
