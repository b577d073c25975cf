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

impl<T> Automaton<T> {
    /// No pattern can match here or further inside.
    pub const DEAD: State = 0;
    /// The root of an object.
    pub const ROOT: State = 1;

    /// Builds it; `join` gets what the patterns say that match the field, and what those say that can match inside it.
    pub fn new<R>(patterns: &[(Pattern, R)], join: impl Fn(&[&R], &[&R]) -> T) -> Self {
        let positions = Positions::of(patterns);
        let mut sets: Vec<Set> = vec![positions.empty()];
        let mut known = HashMap::from([(positions.empty(), Self::DEAD)]);
        let mut intern = |set: &Set, sets: &mut Vec<Set>| {
            if let Some(state) = known.get(set) {
                return *state;
            }
            // Tables of kinds have some hundred states; a pattern of a user is matched by itself.
            let state = State::try_from(sets.len()).unwrap_or(Self::DEAD);
            sets.push(set.clone());
            known.insert(set.clone(), state);
            state
        };
        intern(&positions.start(), &mut sets);
        let mut states = Vec::new();
        let (mut literals, mut prefixes) = (Vec::new(), Vec::new());
        let mut next = positions.empty();
        while let Some(set) = sets.get(states.len()).cloned() {
            literals.clear();
            prefixes.clear();
            let (mut here, mut inside) = (Vec::new(), Vec::new());
            // What each key leads to, whatever its text.
            let mut other = positions.empty();
            for position in members(&set) {
                let says = |pattern: usize| &patterns[pattern].1;
                match positions.all[position] {
                    Position::End(pattern) => here.push(says(pattern)),
                    Position::At(pattern, step) => {
                        inside.push(says(pattern));
                        match step {
                            Taken::Many => positions.reach(&mut other, position),
                            Taken::One => positions.reach(&mut other, position + 1),
                            Taken::Literal(number) => literals.push((number, position + 1)),
                            Taken::Prefix(text) => prefixes.push((text, position + 1)),
                        }
                    }
                }
            }
            literals.sort_unstable();
            // The longest first.
            prefixes.sort_unstable_by_key(|(text, _)| (usize::MAX - text.len(), *text));
            let mut to = |key: &str, named: &[(u16, usize)]| {
                next.copy_from_slice(&other);
                let starts = prefixes.iter().filter(|(start, _)| key.starts_with(start));
                let named = named.iter().map(|(_, position)| *position);
                for position in named.chain(starts.map(|(_, position)| *position)) {
                    positions.reach(&mut next, position);
                }
                intern(&next, &mut sets)
            };
            let mut named: Vec<(u32, u16, State)> = literals
                .chunk_by(|(one, _), (other, _)| one == other)
                .map(|same| {
                    let number = same[0].0;
                    let key = positions.keys[usize::from(number)];
                    (tag(key), number, to(key, same))
                })
                .collect();
            named.sort_unstable();
            let begin = prefixes.chunk_by(|(one, _), (other, _)| one == other);
            states.push(Node {
                tags: named.iter().fold(0, |tags, (tag, ..)| tags | bit(*tag)),
                prefixes: begin
                    .map(|same| (same[0].0.into(), to(same[0].0, &[])))
                    .collect(),
                literals: named,
                other: intern(&other, &mut sets),
                value: join(&here, &inside),
            });
        }
        let keys = positions.keys.into_iter().map(Box::from).collect();
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

/// A set of positions, a bit each.
type Set = Box<[u64]>;

/// Where a pattern can be: before one of its steps, or at its end. The positions of a pattern follow each other.
enum Position<'p> {
    At(usize, Taken<'p>),
    End(usize),
}

/// What a step takes: a literal is a number of a key.
#[derive(Clone, Copy)]
enum Taken<'p> {
    Literal(u16),
    Prefix(&'p str),
    One,
    Many,
}

struct Positions<'p> {
    /// The keys that patterns name, sorted.
    keys: Vec<&'p str>,
    all: Vec<Position<'p>>,
}

impl<'p> Positions<'p> {
    fn of<R>(patterns: &'p [(Pattern, R)]) -> Self {
        let steps = patterns.iter().flat_map(|(pattern, _)| pattern.steps());
        let literal = |step: &'p Step| match step {
            Step::Literal(text) => Some(&**text),
            _ => None,
        };
        let mut keys: Vec<&str> = steps.filter_map(literal).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut all = Vec::new();
        for (pattern, (steps, _)) in patterns.iter().enumerate() {
            all.extend(steps.steps().iter().map(|step| {
                let taken = match step {
                    // Each literal is in the list, and a table has less than 65,536 of them.
                    Step::Literal(text) => keys.binary_search(&&**text).map_or(Taken::One, |at| {
                        Taken::Literal(u16::try_from(at).unwrap_or(u16::MAX))
                    }),
                    Step::Prefix(text) => Taken::Prefix(text),
                    Step::One => Taken::One,
                    Step::Many => Taken::Many,
                };
                Position::At(pattern, taken)
            }));
            all.push(Position::End(pattern));
        }
        Self { keys, all }
    }

    fn empty(&self) -> Set {
        vec![0; self.all.len().div_ceil(64)].into_boxed_slice()
    }

    fn start(&self) -> Set {
        let mut start = self.empty();
        let mut first = true;
        for (at, position) in self.all.iter().enumerate() {
            if first {
                self.reach(&mut start, at);
            }
            first = matches!(position, Position::End(_));
        }
        start
    }

    /// Adds a position, and those behind a `**`, which may take nothing.
    fn reach(&self, set: &mut Set, mut position: usize) {
        insert(set, position);
        while matches!(self.all[position], Position::At(_, Taken::Many)) {
            position += 1;
            insert(set, position);
        }
    }
}

fn insert(set: &mut Set, position: usize) {
    set[position / 64] |= 1 << (position % 64);
}

fn members(set: &Set) -> impl Iterator<Item = usize> {
    set.iter().enumerate().flat_map(|(word, bits)| {
        let mut rest = *bits;
        std::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(word * 64 + bit)
        })
    })
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
