//! Shapes of values: a word, a name, a number, a reference, or random text.

use super::char_class::{is_closing, is_hex};

/// The value without trailing punctuation.
pub(super) fn bare(value: &str) -> &str {
    value.trim_end_matches(is_closing)
}

/// A placeholder: `$X`, `${X}`, `$(X)`, `{{ .x }}`, `%s`, `<password>`, `****`.
pub(super) fn is_stand_in(value: &str) -> bool {
    let value = value.trim_end_matches([',', ';', ')', '"', '\'']);
    let bytes = value.as_bytes();
    match bytes {
        [] => true,
        [b'$', b'{' | b'(', inner @ ..] => is_expression(inner),
        [b'$', rest @ ..] => !rest.is_empty() && is_variable(rest),
        [b'{', b'{', inner @ ..] => is_template(inner),
        [b'(', inner @ ..] => inner.iter().all(|b| b.is_ascii_lowercase()),
        [b'%', b's' | b'v' | b'q' | b'd'] => true,
        [b'<', inner @ .., b'>'] | [b'<', inner @ ..] => inner
            .iter()
            .all(|b| b.is_ascii_lowercase() || matches!(b, b'-' | b'_' | b' ' | b'.')),
        [b'[', inner @ .., b']'] => !inner.is_empty() && inner.iter().all(u8::is_ascii_uppercase),
        [first, rest @ ..] => {
            let mask = matches!(first, b'*' | b'.' | b'-' | b'#')
                || matches!(first, b'x' | b'X') && rest.len() > 1;
            mask && rest.iter().all(|b| b == first)
                || value.chars().all(|c| matches!(c, '•' | '…' | '●'))
        }
    }
}

/// What follows `{{`: an expression of a template, perhaps cut off, or nothing.
fn is_template(inner: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b" ._-|$:/,()%=\"'\\".contains(b);
    let end = inner.windows(2).position(|pair| pair == b"}}");
    let expression = &inner[..end.unwrap_or(inner.len())];
    let rest = std::str::from_utf8(&inner[expression.len()..]).unwrap_or_default();
    inner.first().is_none_or(|b| b" .-".contains(b))
        && expression.iter().all(plain)
        && !is_random(rest.trim_start_matches('}'))
}

/// The content of `${…}` or `$(…)`: a name, perhaps with a default, or a command.
fn is_expression(inner: &[u8]) -> bool {
    let inner = inner
        .strip_suffix(b"}")
        .or(inner.strip_suffix(b")"))
        .unwrap_or(inner);
    let plain = |b: &u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-' | b'/' | b' ' | b'?')
    };
    let text = std::str::from_utf8(inner).unwrap_or_default();
    inner
        .first()
        .is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        && inner.iter().all(plain)
        && !is_random(text)
}

/// A variable's name as shells write it: capitals or lower case alone, no random mix.
fn is_variable(name: &[u8]) -> bool {
    let all = |which: fn(&u8) -> bool| {
        name.iter()
            .all(|b| which(b) || *b == b'_' || b.is_ascii_digit())
    };
    (all(u8::is_ascii_uppercase) || all(u8::is_ascii_lowercase))
        && name.iter().filter(|b| b.is_ascii_digit()).count() <= 2
}

/// More digits may be a password or a code.
const NUMBER_DIGITS_MAX: usize = 5;

/// A number that cannot be a secret, a duration (`1h30m`), a size (`10Mi`), a share (`5%`), a date.
pub(super) fn is_quantity(value: &str) -> bool {
    let value = bare(value).trim_start_matches(['-', '+', '~', '<', '>', '(']);
    let bytes = value.as_bytes();
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    if !bytes.first().is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let dated = bytes.len() >= 10
        && bytes[4] == b'-'
        && bytes
            .iter()
            .all(|b| b.is_ascii_digit() || matches!(b, b'-' | b':' | b'.' | b'T' | b'Z' | b'+'));
    let letters = bytes.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let plain = digits
        + letters
        + bytes
            .iter()
            .filter(|b| matches!(b, b'.' | b'%' | b'/' | b'_'))
            .count()
        == bytes.len();
    dated || (plain && digits <= NUMBER_DIGITS_MAX && letters <= 3 && is_unit(bytes))
}

/// Digits, each followed by a unit or by nothing.
fn is_unit(bytes: &[u8]) -> bool {
    let units = bytes.split(|b| b.is_ascii_digit() || matches!(b, b'.' | b'%' | b'/' | b'_'));
    units.filter(|unit| !unit.is_empty()).all(|unit| {
        [
            &b"ns"[..],
            b"us",
            b"ms",
            b"s",
            b"m",
            b"h",
            b"d",
            b"w",
            b"y",
            b"Ki",
            b"Mi",
            b"Gi",
            b"Ti",
            b"k",
            b"M",
            b"G",
            b"T",
            b"B",
            b"KB",
            b"MB",
            b"GB",
            b"KiB",
            b"MiB",
            b"GiB",
            b"x",
            b"st",
            b"nd",
            b"rd",
            b"th",
        ]
        .contains(&unit)
    })
}

/// A word of a language or a CamelCase name (`AccessDenied`, `read-only`): letters in an order that people write.
pub(super) fn is_plain_word(value: &str) -> bool {
    const WORD_BYTES_MAX: usize = 40;
    let word = bare(value);
    !word.is_empty()
        && word.len() <= WORD_BYTES_MAX
        && word
            .split(['-', '\'', '/', '_'])
            .all(|part| !part.is_empty() && is_camel(part.as_bytes()))
}

/// Letters only: lower case, capitals (not many), or humps that are words or acronyms themselves.
fn is_camel(part: &[u8]) -> bool {
    const CAPITALS_MAX: usize = 12;
    const ACRONYM_MAX: usize = 5;
    if !part.iter().all(u8::is_ascii_alphabetic) {
        return false;
    }
    if part.iter().all(u8::is_ascii_uppercase) {
        return part.len() <= CAPITALS_MAX;
    }
    // Vowels too: random letters have too few.
    let vowels = part.iter().filter(|b| b"aeiouyAEIOUY".contains(b)).count();
    if part.len() >= 6 && vowels * 6 < part.len() {
        return false;
    }
    let mut humps = part.chunk_by(|a, b| !(a.is_ascii_lowercase() && b.is_ascii_uppercase()));
    let first = humps.next().unwrap_or_default();
    let capitals = |hump: &[u8]| hump.iter().take_while(|b| b.is_ascii_uppercase()).count();
    let is_hump = |hump: &[u8]| {
        let acronym = capitals(hump);
        acronym <= ACRONYM_MAX && (acronym == hump.len() && acronym > 1 || hump.len() - acronym > 1)
    };
    (capitals(first) == 0 && first.len() > 1 || is_hump(first) || first.len() == part.len())
        && humps.all(is_hump)
}

/// The name of an object, with or without its namespace: `shop/db-creds`, `regcred`, `web-tls-x7zqk`.
pub(super) fn is_object_name(value: &str) -> bool {
    const NAME_BYTES_MAX: usize = 253;
    let name = bare(value);
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.split(['-', '.', '/', '_', ':']).all(is_name_part)
}

/// `db`, `v2`, `6f7d8c9b54`, `x2k4v`: a part of a name between separators.
fn is_name_part(part: &str) -> bool {
    /// Hashes of ReplicaSets have up to ten characters, of which no vowel.
    const HASH_BYTES_MAX: usize = 10;
    let bytes = part.as_bytes();
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    let lower = bytes
        .iter()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    lower
        && (digits == 0
            || digits == bytes.len() && digits <= NUMBER_DIGITS_MAX
            || bytes.len() <= HASH_BYTES_MAX
                && part
                    .trim_end_matches(|c: char| c.is_ascii_digit())
                    .bytes()
                    .all(|b| b.is_ascii_lowercase())
                && digits <= 3
            || bytes.len() <= HASH_BYTES_MAX && !bytes.iter().any(|b| b"aeiou".contains(b)))
}

/// A path of a file system: `/run/secrets/db`, `./x`; each step a word or a name.
pub(super) fn is_path(value: &str) -> bool {
    let path = bare(value);
    let begins = ["/", "./", "../", "~/", "C:\\"];
    let step = |step: &str| {
        step.split(['.', '-', '_', '@', ':', '~']).all(|part| {
            part.is_empty() || is_plain_word(part) || is_name_part(part) || is_quantity(part)
        })
    };
    begins.iter().any(|start| path.starts_with(start)) && path.split(['/', '\\']).all(step)
}

/// The tag of an image: a version, a date, words, the name of a commit (`v1.2.3-4e1c9f2b`, `main-<40 hex>`).
pub(super) fn is_image_tag(tag: &str) -> bool {
    /// A date with the time, and a number of a build.
    const DIGITS_MAX: usize = 14;
    let part = |part: &str| {
        let number = part.strip_prefix(['v', 'r']).unwrap_or(part);
        is_plain_word(part)
            || is_commit(part)
            || !number.is_empty()
                && number.len() <= DIGITS_MAX
                && number.bytes().all(|b| b.is_ascii_digit())
            || is_name_part(part)
            || is_compact_date(part)
    };
    !tag.is_empty() && tag.split(['-', '.', '_']).all(part)
}

/// `20261130T101112Z`.
fn is_compact_date(part: &str) -> bool {
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    let part = part.strip_suffix('Z').unwrap_or(part);
    digits == 14 && part.len() == 15 && part.as_bytes()[8] == b'T'
}

/// The name of a commit or a digest, complete or abbreviated. A hexadecimal token usually has 32 characters, a commit never.
pub(super) fn is_commit(part: &str) -> bool {
    matches!(part.len(), 6..=16 | 40 | 64)
        && part.bytes().all(|b| is_hex(b) && !b.is_ascii_uppercase())
}

/// An image with its tag, also behind the name of a container: `auth=ghcr.io/acme/auth:4e1c9f2`.
pub(super) fn is_tagged_image(value: &str) -> bool {
    let image = bare(value);
    let image = image.split_once('=').map_or(image, |(_, image)| image);
    image
        .rsplit_once(':')
        .is_some_and(|(name, tag)| name.contains('/') && is_object_name(name) && is_image_tag(tag))
}

/// 8-4-4-4-12.
pub(super) fn is_uuid(value: &str) -> bool {
    let bytes = value.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, b)| {
            if matches!(at, 8 | 13 | 18 | 23) {
                *b == b'-'
            } else {
                is_hex(*b)
            }
        })
}

/// Generated text: letters and digits without a pattern.
pub(super) fn is_random(value: &str) -> bool {
    const MIXED_BYTES_MIN: usize = 10;
    const SINGLE_CASE_BYTES_MIN: usize = 16;
    let value = value.trim_end_matches(|c: char| c != '=' && is_closing(c));
    let bytes = value.as_bytes();
    if bytes.len() < MIXED_BYTES_MIN {
        return false;
    }
    let (mut upper, mut lower, mut digit, mut other, mut changes) = (0, 0, 0, 0, 0);
    // 0: neither, 1: a capital, 2: a small letter, 3: a digit
    let mut last = 0;
    for byte in bytes {
        let class = match byte {
            b'A'..=b'Z' => {
                upper += 1;
                1
            }
            b'a'..=b'z' => {
                lower += 1;
                2
            }
            b'0'..=b'9' => {
                digit += 1;
                3
            }
            b'+' | b'/' | b'=' | b'_' | b'-' | b'.' | b'~' | b'%' => 0,
            _ => {
                other += 1;
                0
            }
        };
        // A capital that begins a word is order.
        changes += usize::from(class != last && class != 0 && last != 0 && (last, class) != (1, 2));
        last = class;
    }
    let letters = upper + lower;
    if other * 4 > bytes.len() || value.contains("://") {
        return false;
    }
    let hex = bytes.iter().all(|b| is_hex(*b));
    if hex {
        return bytes.len() >= SINGLE_CASE_BYTES_MIN && digit > 0 && letters > 0
            || bytes.len() >= 32;
    }
    if upper > 0 && lower > 0 && digit > 0 {
        return changes >= 2 && changes * 8 >= bytes.len() && !is_numbered_word(bytes);
    }
    if digit == 0 {
        // Letters alone: as random as case can be.
        return upper > 0
            && lower > 0
            && bytes.len() >= SINGLE_CASE_BYTES_MIN
            && changes * 6 >= bytes.len()
            && !is_plain_word(value);
    }
    let longest = bytes
        .split(|b| matches!(b, b'-' | b'.' | b'/' | b'_'))
        .map(<[u8]>::len)
        .max();
    longest.is_some_and(|length| length >= SINGLE_CASE_BYTES_MIN)
        && letters > 0
        && changes >= 3
        && changes * 8 >= bytes.len()
}

/// `EC2MetadataError`, `NodeNotReady2`: long words with a number or two between them.
fn is_numbered_word(bytes: &[u8]) -> bool {
    const PIECES_MAX: usize = 3;
    const LONG_WORD: usize = 4;
    let mut pieces = bytes
        .split(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'/' | b'_'))
        .filter(|part| !part.is_empty());
    let vowels = |part: &[u8]| part.iter().filter(|b| b"aeiouyAEIOUY".contains(b)).count();
    let (mut count, mut long) = (0, 0);
    let words = pieces.all(|part| {
        count += 1;
        long += usize::from(part.len() >= LONG_WORD);
        is_camel(part) && (part.len() < LONG_WORD || vowels(part) * 4 >= part.len())
    });
    words && count <= PIECES_MAX && long * 2 >= count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_random_finds_nearly_every_random_value() {
        const ALNUM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let (mut state, mut missed) = (7_u64, 0);
        for _ in 0..10_000 {
            let value: String = (0..17)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    char::from(ALNUM[(state >> 33) as usize % ALNUM.len()])
                })
                .collect();
            let mixed = value.bytes().any(|b| b.is_ascii_digit());
            missed += u32::from(mixed && !is_random(&value));
        }
        assert!(missed < 100, "{missed} of 10000");
    }

    #[test]
    fn is_random_rejects_names() {
        for value in [
            "k3vN8qPz1LmW0aRt9",
            "0123456789abcdef0123456789abcdef",
            "k3v8q1z0m4w7a9r2",
            "aB3/xY9+kL0=",
            "KQ2X7YB5ZD3W6M4P",
        ] {
            assert!(is_random(value), "{value}");
        }
        for value in [
            "web-6f7d8c9b54-x2k4v",
            "AccessDenied",
            "NodeNotReady2",
            "kube-api-access-7xq2m",
            "v1.25.3-alpine",
            "ip-10-0-1-2.eu-west-1",
            "letsencrypt",
        ] {
            assert!(!is_random(value), "{value}");
        }
    }

    #[test]
    fn shapes_match_harmless_values() {
        for value in [
            "768h",
            "5m0s",
            "401",
            "1048",
            "10Mi",
            "100%",
            "2026-11-30T08:00:00Z",
            "1.5s",
        ] {
            assert!(is_quantity(value), "{value}");
        }
        for value in ["123456", "12ab34", "a1", "17hunter"] {
            assert!(!is_quantity(value), "{value}");
        }
        for value in [
            "$(DB_PASSWORD)",
            "${X}",
            "$DB_PASSWORD",
            "{{ .Values.x }}",
            "{{ .Values.db_password | default (printf \"%s-x\" .Release.Name) | quote }}",
            "{{- .Values.x",
            "<password>",
            "********",
            "xxxxx",
            "[REDACTED]",
        ] {
            assert!(is_stand_in(value), "{value}");
        }
        for value in [
            "$k3vN8qPz1LmW",
            "<k3vN8",
            "x1",
            "[odd]",
            "{{.\u{4e2d}B(wmy&w<",
            "{{k3vN8}}",
            "{{ .x }}k3vN8qPz1LmW0aRt",
        ] {
            assert!(!is_stand_in(value), "{value}");
        }
        for value in [
            "regcred",
            "shop/db-creds",
            "web-tls-x7zqk",
            "db2",
            "auth/kubernetes",
        ] {
            assert!(is_object_name(value), "{value}");
        }
        for value in ["k3v8q1z0m4w7a9r2", "Hunter2", "a b"] {
            assert!(!is_object_name(value), "{value}");
        }
    }
}
