//! Templates of descriptions, and the seams in them over which a match could lie.

use crate::schema::placeholder;

/// What fills a placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filler {
    Name,
    Namespace,
    /// An argument of the row, counted from 0.
    Arg(usize),
}

impl Filler {
    fn of(c: char) -> Option<Self> {
        match c {
            placeholder::NAME => Some(Self::Name),
            placeholder::NAMESPACE => Some(Self::Namespace),
            _ => placeholder::ARGS
                .iter()
                .position(|&arg| arg == c)
                .map(Self::Arg),
        }
    }
}

/// A place in a template where the needle could lie over a border. Each number is where the needle is cut, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seam {
    /// The text before a value ends with the needle's beginning: the value must fit the rest.
    Into(Filler, usize),
    /// The text after a value begins with the needle's end: the value must fit what is before.
    OutOf(Filler, usize),
    /// The needle has the text between two values inside: both must fit what is left on their side.
    Across {
        before: (Filler, usize),
        after: (Filler, usize),
    },
    /// Two values side by side: both must fit, wherever the needle is cut.
    Between(Filler, Filler),
}

pub(super) fn has_placeholder(body: &str) -> bool {
    // Placeholders are the characters below 8, a byte each.
    body.bytes().any(|byte| byte < 8)
}

pub(super) fn names_namespace(body: &str) -> bool {
    body.contains(placeholder::NAMESPACE)
}

/// The seams of a template, in lower case, that could hold the needle.
pub(super) fn seams(body: &str, needle: &str) -> Vec<Seam> {
    let mut seams = Vec::new();
    let mut before: Option<Filler> = None;
    let mut rest = body;
    loop {
        let end = rest.find(|c| Filler::of(c).is_some()).unwrap_or(rest.len());
        let (run, tail) = rest.split_at(end);
        let mut tail = tail.chars();
        let after = tail.next().and_then(Filler::of);
        of_run(run, before, after, needle, &mut seams);
        if after.is_none() {
            return seams;
        }
        before = after;
        rest = tail.as_str();
    }
}

/// The seams at the ends of a run of the template's own text, which may be empty.
fn of_run(
    run: &str,
    before: Option<Filler>,
    after: Option<Filler>,
    needle: &str,
    seams: &mut Vec<Seam>,
) {
    if run.is_empty() {
        seams.extend(
            before
                .zip(after)
                .map(|(before, after)| Seam::Between(before, after)),
        );
        return;
    }
    for cut in needle.char_indices().map(|(at, _)| at).skip(1) {
        let (first, second) = needle.split_at(cut);
        if let Some(after) = after.filter(|_| run.ends_with(first)) {
            seams.push(Seam::Into(after, cut));
        }
        let Some(before) = before else { continue };
        if run.starts_with(second) {
            seams.push(Seam::OutOf(before, cut));
        }
        if let Some(after) = after
            && second.len() > run.len()
            && second.starts_with(run)
        {
            seams.push(Seam::Across {
                before: (before, cut),
                after: (after, cut + run.len()),
            });
        }
    }
}

/// Whether a value could go on with `rest`: it begins with that, or is a part of its beginning.
pub(super) fn goes_on(value: &[u8], rest: &[u8]) -> bool {
    let shared = value.len().min(rest.len());
    value[..shared].eq_ignore_ascii_case(&rest[..shared])
}

/// Whether `begun` could lie before the end of a value: it ends with that, or is a part of its end.
pub(super) fn ends_so(value: &[u8], begun: &[u8]) -> bool {
    let shared = value.len().min(begun.len());
    value[value.len() - shared..].eq_ignore_ascii_case(&begun[begun.len() - shared..])
}

/// Whether `text` has `needle`, which is in lower case, without regard to ASCII case.
pub(super) fn has(text: &[u8], needle: &[u8]) -> bool {
    let Some((&first, rest)) = needle.split_first() else {
        return true;
    };
    memchr::memchr2_iter(first, first.to_ascii_uppercase(), text).any(|at| {
        text[at + 1..]
            .get(..rest.len())
            .is_some_and(|window| window.eq_ignore_ascii_case(rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seams_are_where_the_border_fits() {
        use Filler::{Arg, Name};
        for (body, needle, expected) in [
            ("pod \u{1} failed", "pod web", vec![Seam::Into(Name, 4)]),
            ("pod \u{1} failed", "web failed", vec![Seam::OutOf(Name, 3)]),
            ("pod \u{1} failed", "killed", vec![]),
            ("\u{1}\u{3}", "ab", vec![Seam::Between(Name, Arg(0))]),
            (
                "\u{1}/\u{4}",
                "a/b",
                vec![Seam::Across {
                    before: (Name, 1),
                    after: (Arg(1), 2),
                }],
            ),
            ("\u{1}/\u{3}", "ab", vec![]),
            ("no placeholder", "o p", vec![]),
        ] {
            assert_eq!(seams(body, needle), expected, "{body:?} {needle:?}");
        }
    }

    #[test]
    fn value_fits_where_it_could_complete_the_needle() {
        for (value, begins, ends) in [
            ("app", true, true),
            ("App-1", true, false),
            ("ap", true, false),
            ("", true, true),
            ("nginx", false, false),
            ("my-app", false, true),
            ("-APP", false, true),
        ] {
            assert_eq!(goes_on(value.as_bytes(), b"app"), begins, "{value}");
            assert_eq!(ends_so(value.as_bytes(), b"y-app"), ends, "{value}");
        }
    }

    #[test]
    fn bytes_are_found_without_regard_to_case() {
        assert!(has(b"[\"NGINX:1.2\"]", b"nginx:1"));
        assert!(!has(b"[\"ngin\"]", b"nginx"));
    }
}
