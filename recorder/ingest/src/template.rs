//! Separates the variable parts of a description, so that the rest is stored once for many rows.
//!
//! `Back-off 5m0s restarting container app in pod web-1` about pod `web-1` becomes the text
//! `Back-off ␃ restarting container app in pod ␁` and the argument `5m0s`. The view `event_detail` puts them back.
//! Which parts are replaced affects only the size of the file, never what a reader gets.

use std::borrow::Cow;

use kube9_model::placeholder;

/// A description in two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageTemplate {
    /// With placeholders; goes to the table `message_template`.
    pub body: String,
    /// The arguments, in the order of their placeholders; go to the row.
    pub args: Vec<String>,
}

/// A description as a row keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// With placeholders; `message_template.body`.
    pub body: String,
    /// The arguments as JSON; `event.args`.
    pub args: Option<String>,
}

impl From<MessageTemplate> for StoredMessage {
    fn from(template: MessageTemplate) -> Self {
        Self {
            args: (!template.args.is_empty()).then(|| template.args_json()),
            body: template.body,
        }
    }
}

impl MessageTemplate {
    /// The arguments as `event.args` holds them: a JSON array; whole numbers without quotes, which read the same.
    pub fn args_json(&self) -> String {
        let mut json =
            String::with_capacity(4 + self.args.iter().map(|arg| arg.len() + 3).sum::<usize>());
        for arg in &self.args {
            json.push(if json.is_empty() { '[' } else { ',' });
            if is_whole_number(arg) {
                json.push_str(arg);
            } else {
                // Stored text has no control characters, so JSON needs only these two escaped.
                json.push('"');
                for part in arg.split_inclusive(['"', '\\']) {
                    match part.strip_suffix(['"', '\\']) {
                        Some(before) => {
                            json.push_str(before);
                            json.push('\\');
                            json.push_str(&part[before.len()..]);
                        }
                        None => json.push_str(part),
                    }
                }
                json.push('"');
            }
        }
        json.push(']');
        json
    }
}

/// Only numbers that print unchanged: no leading zero, no sign before zero, no more digits than an i64 holds.
fn is_whole_number(arg: &str) -> bool {
    const DIGITS_MAX: usize = 18;
    let digits = arg.strip_prefix('-').unwrap_or(arg).as_bytes();
    let plain = match digits {
        [b'0'] => digits.len() == arg.len(),
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    plain && digits.len() <= DIGITS_MAX && digits.iter().all(u8::is_ascii_digit)
}

/// Shorter names are not replaced: they occur in ordinary words.
const NAME_MIN: usize = 4;

/// Splits a description. `name` and `namespace` are the object's, empty if there is none.
pub fn split(description: &str, name: &str, namespace: &str) -> MessageTemplate {
    split_values(description, &[], name, namespace)
}

/// Splits a description, and knows some parts that differ from row to row.
pub fn split_values(
    description: &str,
    values: &[String],
    name: &str,
    namespace: &str,
) -> MessageTemplate {
    // Stored text has no control characters (Sanitized); one that slips through must not act as a placeholder.
    // Branch-free, so that the compiler vectorizes it.
    let has_control = description
        .bytes()
        .fold(false, |any, byte| any | (byte < 8));
    let mut body = if has_control {
        Cow::Owned(description.replace(|c: char| c < '\u{8}', "\u{fffd}"))
    } else {
        Cow::Borrowed(description)
    };
    // Before the names, which may be in them: an argument has no placeholder, not even by its own control characters.
    let mut args = Vec::new();
    for value in values {
        if value.len() >= NAME_MIN
            && !value.bytes().any(|byte| byte < 8)
            && let Some(place) = placeholder::ARGS.get(args.len())
            && let Some(replaced) = replace(&body, value, *place)
        {
            body = Cow::Owned(replaced);
            args.push(value.clone());
        }
    }
    for (word, place) in [
        (name, placeholder::NAME),
        (namespace, placeholder::NAMESPACE),
    ] {
        if word.len() >= NAME_MIN
            && let Some(replaced) = replace(&body, word, place)
        {
            body = Cow::Owned(replaced);
        }
    }
    take_arguments(&body, args)
}

/// `text` with each `word` replaced, as `str::replace` does; `None` if there is none. Names and texts are short, so
/// building the standard library's searcher would take longer than the search.
fn replace(text: &str, word: &str, place: char) -> Option<String> {
    let (bytes, word) = (text.as_bytes(), word.as_bytes());
    let first = word[0];
    let mut replaced = None;
    let (mut at, mut copied) = (0, 0);
    while at + word.len() <= bytes.len() {
        if bytes[at] == first && bytes[at..].starts_with(word) {
            let into = replaced.get_or_insert_with(|| String::with_capacity(text.len()));
            into.push_str(&text[copied..at]);
            into.push(place);
            at += word.len();
            copied = at;
        } else {
            at += 1;
        }
    }
    replaced.map(|mut into| {
        into.push_str(&text[copied..]);
        into
    })
}

fn take_arguments(text: &str, mut args: Vec<String>) -> MessageTemplate {
    let bytes = text.as_bytes();
    let mut body = String::with_capacity(text.len());
    let (mut at, mut copied) = (0, 0);
    while at < bytes.len() {
        let end = bytes[at..]
            .iter()
            .position(|byte| SEPARATES[*byte as usize])
            .map_or(bytes.len(), |length| at + length);
        // A full stop that ends a sentence is not part of the word.
        let marks = bytes[at..end].iter().rev();
        let marks = marks.take_while(|byte| matches!(byte, b'.' | b':'));
        let word = &text[at..end - marks.count()];
        if is_variable(word) {
            let known = args.iter().position(|arg| arg == word);
            let index = known.or_else(|| {
                (args.len() < placeholder::ARGS.len()).then(|| {
                    args.push(word.to_owned());
                    args.len() - 1
                })
            });
            if let Some(index) = index {
                body.push_str(&text[copied..at]);
                body.push(placeholder::ARGS[index]);
                copied = at + word.len();
            }
        }
        at = end + 1;
    }
    body.push_str(&text[copied..]);
    MessageTemplate { body, args }
}

/// Bytes between words. Placeholders separate words too: an argument must not contain one.
const SEPARATES: [bool; 256] = {
    let mut separates = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        separates[byte] = byte < b' ' as usize || is_mark(byte as u8);
        byte += 1;
    }
    separates
};

#[rustfmt::skip]
const fn is_mark(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'"' | b'\'' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b',' | b';' | b'=' | b'/' | b'@' | b'<' | b'>'
    )
}

/// Whether a word differs from row to row: a measure (`1.523s`, `31457280`, `10.2.3.4:8080`) or a generated name
/// (`web-7c9f8-x2x9p`). UUIDs stay: they name an object, and its rows repeat them.
fn is_variable(word: &str) -> bool {
    let bytes = word.as_bytes();
    if bytes.len() < 4 {
        return false;
    }
    // What follows a replaced name begins with a hyphen: `-29882145`, a CronJob's run.
    let number = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let measure = number.len() > 3 && number[0].is_ascii_digit();
    let digits = || bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    (measure && digits() > 1 && !is_uuid(word)) || is_generated_name(word)
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36 && word.bytes().filter(|b| *b == b'-').count() == 4
}

/// Ends in `-` and characters of Kubernetes' alphabet for generated names (apimachinery, `util/rand`): five of a pod, or
/// the eight to ten of a pod template's hash. The alphabet has no vowels, so ordinary words do not match.
fn is_generated_name(word: &str) -> bool {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    // The last hyphen of such a word is one of its last eleven characters.
    let end = &word.as_bytes()[word.len().saturating_sub(11)..];
    let Some(hyphen) = end.iter().rposition(|byte| *byte == b'-') else {
        return false;
    };
    let suffix = &end[hyphen + 1..];
    matches!(suffix.len(), 5 | 8..=10) && suffix.iter().all(|c| ALPHABET.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Does what the view does.
    fn expand(template: &MessageTemplate, name: &str, namespace: &str) -> String {
        let mut text = template
            .body
            .replace(placeholder::NAME, name)
            .replace(placeholder::NAMESPACE, namespace);
        for (place, arg) in placeholder::ARGS.iter().zip(&template.args) {
            text = text.replace(*place, arg);
        }
        text
    }

    #[test]
    fn split_replaces_variable_parts() {
        for (given, name, namespace, body, args) in [
            (
                "Back-off 5m0s restarting failed container=app in pod checkout-1_shop",
                "checkout-1",
                "shop",
                "Back-off \u{3} restarting failed container=app in pod \u{1}_\u{2}",
                vec!["5m0s"],
            ),
            (
                "Successfully pulled image \"nginx:1.25\" in 1.523s (1.523s including waiting). Image size: 31457280 bytes.",
                "web-1",
                "default",
                "Successfully pulled image \"nginx:1.25\" in \u{3} (\u{3} including waiting). Image size: \u{4} bytes.",
                vec!["1.523s", "31457280"],
            ),
            (
                "Created pod: web-7c9f8-x2x9p",
                "web-7c9f8",
                "a",
                "Created pod: \u{1}\u{3}",
                vec!["-x2x9p"],
            ),
            (
                "Created pod: api-7c9f8-x2x9p",
                "web",
                "a",
                "Created pod: \u{3}",
                vec!["api-7c9f8-x2x9p"],
            ),
            (
                "Scaled down replica set web-6cd6ff7d7b from 3 to 2",
                "web1",
                "a",
                "Scaled down replica set \u{3} from 3 to 2",
                vec!["web-6cd6ff7d7b"],
            ),
            (
                "Created job report-29882145",
                "report",
                "a",
                "Created job \u{1}\u{3}",
                vec!["-29882145"],
            ),
            (
                "Created job report-503",
                "report",
                "a",
                "Created job \u{1}-503",
                vec![],
            ),
            (
                "run 2026-11-27-10-15 of 0a1b2c3d-1234-4abc-8def-0123456789ab",
                "",
                "",
                "run \u{3} of 0a1b2c3d-1234-4abc-8def-0123456789ab",
                vec!["2026-11-27-10-15"],
            ),
            (
                "1.1s 2.2s 3.3s 4.4s 5.5s 6.6s 1.1s",
                "",
                "",
                "\u{3} \u{4} \u{5} \u{6} \u{7} 6.6s \u{3}",
                vec!["1.1s", "2.2s", "3.3s", "4.4s", "5.5s"],
            ),
            (
                "Created pod: web-queue at its 3rd-time",
                "",
                "",
                "Created pod: web-queue at its 3rd-time",
                vec![],
            ),
            (
                "HTTP probe failed with statuscode: 503",
                "",
                "",
                "HTTP probe failed with statuscode: 503",
                vec![],
            ),
        ] {
            let template = split(given, name, namespace);
            assert_eq!(template.body, body);
            assert_eq!(template.args, args);
        }
    }

    #[test]
    fn split_control_characters_do_not_act_as_placeholders() {
        for (given, body) in [
            ("\u{3}", "\u{fffd}"),
            ("of \u{1} and \u{7}\u{8}", "of \u{fffd} and \u{fffd}\u{8}"),
        ] {
            let template = split(given, "web-1", "shop");
            assert_eq!((template.body.as_str(), template.args.len()), (body, 0));
        }
    }

    #[test]
    fn stored_message_without_arguments_has_none() {
        let args = |text| StoredMessage::from(split(text, "", "")).args;
        assert_eq!(args("nothing varies"), None);
        assert_eq!(args("took 1.523s"), Some(r#"["1.523s"]"#.to_owned()));
    }

    #[test]
    fn split_takes_out_the_values_that_it_is_given() {
        let values =
            ["registry/web-1:v1", "registry/web-1:v2", "not there", "x"].map(str::to_owned);
        let text = "image of web-1 from registry/web-1:v1 to registry/web-1:v2 x";
        let template = split_values(text, &values, "web-1", "shop");
        assert_eq!(template.body, "image of \u{1} from \u{3} to \u{4} x");
        assert_eq!(template.args, values[..2]);
    }

    #[test]
    fn args_json_only_canonical_numbers_are_unquoted() {
        let template = MessageTemplate {
            body: String::new(),
            args: [
                "31457280",
                "-29882145",
                "007",
                "-0",
                "1.50",
                "99999999999999999999",
                "+5",
                "0",
                "a\\b",
            ]
            .map(str::to_owned)
            .to_vec(),
        };
        assert_eq!(
            template.args_json(),
            r#"[31457280,-29882145,"007","-0","1.50","99999999999999999999","+5",0,"a\\b"]"#
        );
    }

    #[test]
    fn split_value_with_a_control_character_is_no_argument() {
        let values = ["shop", "\u{3}web"].map(str::to_owned);
        let template = split_values("shopweb-1", &values, "", "");
        assert_eq!(
            (&*template.body, template.args),
            ("\u{3}web-1", vec!["shop".to_owned()])
        );
    }

    proptest! {
        #[test]
        fn template_expands_to_what_was_split(
            text in "([a-z]{1,6}|[0-9]{1,6}[a-z]?|[ /:.,()=\"-]|web-1|shop|é|x-bcdfg){0,40}",
            name in "web-1|shop|[a-z]{0,5}", namespace in "shop|[a-z]{0,4}",
            values in proptest::collection::vec("[a-z0-9]{1,2}[a-z0-9 /:.-]{2,6}|web-1|shop.*|\u{3}web", 0..7),
        ) {
            let template = split_values(&text, &values, &name, &namespace);
            prop_assert_eq!(expand(&template, &name, &namespace), text);
            prop_assert!(template.args.len() <= placeholder::ARGS.len());
        }
    }
}
