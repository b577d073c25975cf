//! Many patterns as one state machine: a walk through an object takes one step a key, however many patterns there are.
//!
//! A state stands for the set of positions that the patterns can be in (subset construction). Most states know no key by
//! name and lead to [`Automaton::DEAD`], from which no pattern can match.

use std::collections::HashMap;

use super::path::{Pattern, Segment, Step};

/// A state of an [`Automaton`].
pub type State = u16;

/// Patterns, each with what it says about the fields it matches; `T` is what they say together.
#[derive(Debug)]
pub struct Automaton<T> {
    /// The keys that patterns name.
    keys: Vec<Box<str>>,
    states: Vec<Node<T>>,
}

#[derive(Debug)]
struct Node<T> {
    /// A bit for each tag in `literals`: most keys have none of them.
    tags: u64,
    /// The tag and the number of each key, by tag.
    literals: Vec<(u32, u16, State)>,
    /// The longest first.
    prefixes: Vec<(Box<str>, State)>,
    other: State,
    value: T,
}

/// A pattern and how many of its steps were taken.
type Position = (usize, usize);

/// What the next key is.
#[derive(Clone, Copy)]
enum Symbol<'p> {
    Literal(&'p str),
    Prefix(&'p str),
    Other,
}

impl<T> Automaton<T> {
    /// No pattern can match here or further inside.
    pub const DEAD: State = 0;
    /// The root of an object.
    pub const ROOT: State = 1;

    /// Builds it; `join` gets what the patterns say that match the field, and what those say that can match inside it.
    pub fn new<R>(patterns: &[(Pattern, R)], join: impl Fn(&[&R], &[&R]) -> T) -> Self {
        let steps = patterns.iter().flat_map(|(pattern, _)| pattern.steps());
        let mut keys: Vec<Box<str>> = steps
            .filter_map(|step| match step {
                Step::Literal(text) => Some(text.clone()),
                _ => None,
            })
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let mut sets: Vec<Vec<Position>> = vec![Vec::new()];
        let mut known = HashMap::from([(Vec::new(), Self::DEAD)]);
        let start = closed((0..patterns.len()).map(|pattern| (pattern, 0)), patterns);
        let mut intern = |set: Vec<Position>, sets: &mut Vec<Vec<Position>>| {
            *known.entry(set).or_insert_with_key(|set| {
                sets.push(set.clone());
                // Tables of kinds have some hundred states; a pattern of a user is matched by itself.
                State::try_from(sets.len() - 1).unwrap_or(Self::DEAD)
            })
        };
        intern(start, &mut sets);
        let mut states = Vec::new();
        while let Some(set) = sets.get(states.len()).cloned() {
            let mut literals: Vec<&str> = Vec::new();
            let mut prefixes: Vec<&str> = Vec::new();
            for (pattern, taken) in &set {
                match patterns[*pattern].0.steps().get(*taken) {
                    Some(Step::Literal(text)) => literals.push(text),
                    Some(Step::Prefix(text)) => prefixes.push(text),
                    _ => {}
                }
            }
            prefixes.sort_unstable_by_key(|text| (usize::MAX - text.len(), *text));
            prefixes.dedup();
            let mut to = |symbol| intern(after(&set, symbol, patterns), &mut sets);
            let node = Node {
                tags: literals.iter().fold(0, |tags, key| tags | bit(tag(key))),
                other: to(Symbol::Other),
                literals: {
                    let known = (0_u16..).zip(&keys);
                    let named = known.filter(|(_, key)| literals.contains(&&***key));
                    let mut literals: Vec<_> = named
                        .map(|(number, key)| (tag(key), number, to(Symbol::Literal(key))))
                        .collect();
                    literals.sort_unstable();
                    literals
                },
                prefixes: prefixes
                    .into_iter()
                    .map(|text| (text.into(), to(Symbol::Prefix(text))))
                    .collect(),
                value: {
                    let ends =
                        |(pattern, taken): &&Position| *taken == patterns[*pattern].0.steps().len();
                    let says = |(pattern, _): &Position| &patterns[*pattern].1;
                    let (here, inside): (Vec<_>, Vec<_>) = set.iter().partition(ends);
                    let here: Vec<&R> = here.into_iter().map(says).collect();
                    let inside: Vec<&R> = inside.into_iter().map(says).collect();
                    join(&here, &inside)
                },
            };
            states.push(node);
        }
        Self { keys, states }
    }

    /// The state of the value under a key, or of an element by its identity.
    pub fn step(&self, state: State, key: &str) -> State {
        let node = &self.states[usize::from(state)];
        let tag = tag(key);
        if node.tags & bit(tag) != 0 {
            let first = node.literals.partition_point(|(one, ..)| *one < tag);
            let same = node.literals[first..]
                .iter()
                .take_while(|(one, ..)| *one == tag);
            for (_, number, next) in same {
                if *self.keys[usize::from(*number)] == *key {
                    return *next;
                }
            }
        }
        let prefix = node
            .prefixes
            .iter()
            .find(|(text, _)| key.starts_with(&**text));
        prefix.map_or(node.other, |(_, next)| *next)
    }

    /// The state of an element of a list, whose identity no table names.
    pub fn element(&self, state: State) -> State {
        self.states[usize::from(state)].other
    }

    /// The state of a segment of a path.
    pub fn segment(&self, state: State, segment: &Segment) -> State {
        match segment {
            Segment::Field(name) => self.step(state, name),
            Segment::Element(_) | Segment::Index(_) => self.element(state),
        }
    }

    /// What the patterns say about a field.
    pub fn at(&self, state: State) -> &T {
        &self.states[usize::from(state)].value
    }
}

/// Tells most keys apart without a comparison of texts: the length, and three of the bytes.
fn tag(key: &str) -> u32 {
    let bytes = key.as_bytes();
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    let last = byte(bytes.len().saturating_sub(1));
    u32::from_be_bytes([length, byte(0), byte(bytes.len() / 2), last])
}

/// One of 64 bits, which different tags rarely share.
const fn bit(tag: u32) -> u64 {
    1 << (tag.wrapping_mul(0x9e37_79b9) >> 26)
}

/// The positions after one more key.
fn after<R>(set: &[Position], symbol: Symbol<'_>, patterns: &[(Pattern, R)]) -> Vec<Position> {
    let next = |&(pattern, taken): &Position| {
        let step = patterns[pattern].0.steps().get(taken)?;
        let takes = match (step, symbol) {
            (Step::Many, _) => return Some((pattern, taken)),
            (Step::One, _) => true,
            (Step::Literal(text), Symbol::Literal(key)) => **text == *key,
            (Step::Prefix(start), Symbol::Literal(key) | Symbol::Prefix(key)) => {
                key.starts_with(&**start)
            }
            _ => false,
        };
        takes.then_some((pattern, taken + 1))
    };
    closed(set.iter().filter_map(next), patterns)
}

/// With the positions behind a `**`, which may take nothing.
fn closed<R>(
    positions: impl Iterator<Item = Position>,
    patterns: &[(Pattern, R)],
) -> Vec<Position> {
    let mut all = Vec::new();
    for (pattern, mut taken) in positions {
        all.push((pattern, taken));
        while patterns[pattern].0.steps().get(taken) == Some(&Step::Many) {
            taken += 1;
            all.push((pattern, taken));
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::path::Path;

    fn automaton(texts: &[&str]) -> Automaton<Vec<usize>> {
        let patterns: Vec<(Pattern, usize)> = texts
            .iter()
            .enumerate()
            .map(|(n, text)| match text.strip_suffix("/*") {
                Some(start) => {
                    let (parent, start) = start.rsplit_once('.').unwrap();
                    let prefix = Step::Prefix(format!("{start}/").into());
                    (Pattern::parse(parent).unwrap().then(prefix), n)
                }
                None => (Pattern::parse(text).unwrap(), n),
            })
            .collect();
        Automaton::new(&patterns, |here, _| here.iter().map(|n| **n).collect())
    }

    #[test]
    fn automaton_finds_what_each_pattern_matches() {
        let texts = [
            "spec.**",
            "**.image",
            "spec.*.image",
            "spec.containers",
            "**.containers.*.image",
            "**.a.**.b",
        ];
        let all = automaton(&texts);
        for path in [
            "spec",
            "spec.image",
            "spec.x.image",
            "spec.containers",
            "spec.containers.app.image",
            "image",
            "status.image",
            "a.b",
            "a.b.b",
            "x.a.c.d.b",
            "b.a",
            "",
        ] {
            let path = Path::parse(path).unwrap_or_default();
            let state = path
                .segments()
                .iter()
                .fold(Automaton::<()>::ROOT, |state, segment| {
                    all.segment(state, segment)
                });
            let expected: Vec<usize> = (0..texts.len())
                .filter(|n| Pattern::parse(texts[*n]).unwrap().matches(&path))
                .collect();
            assert_eq!(all.at(state), &expected, "{path}");
        }
    }

    #[test]
    fn prefix_matches_keys_that_begin_so() {
        let all = automaton(&["m.x/*", "m.x/y"]);
        let at = |key: &str| {
            let state = all.step(Automaton::<()>::ROOT, "m");
            all.at(all.step(state, key)).clone()
        };
        assert_eq!(at("x/z"), [0]);
        assert_eq!(at("x/y"), [0, 1]);
        assert_eq!(at("xy"), [0; 0]);
        assert_eq!(at("x/"), [0]);
    }
}
