//! Takes the variable parts out of a description, so that the rest is stored once for many rows.
//!
//! `Back-off 5m0s restarting container app in pod web-1` about pod `web-1` becomes the text
//! `Back-off ␃ restarting container app in pod ␁` and the argument `5m0s`. The view `event_detail` puts them back;
//! which parts are taken out decides only the size of the file, never what is read.

use kube9_shared::schema::placeholder;
use serde_json::Value;

/// A description in two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// With placeholders; goes to the table `text`.
    pub body: String,
    /// What stands for the argument placeholders; goes to the row.
    pub args: Vec<String>,
}

impl Template {
    /// The arguments as `event.args` holds them: a JSON array; whole numbers without quotes, which read the same.
    pub fn args_json(&self) -> String {
        let values: Vec<Value> = self.args.iter().map(|arg| whole_number(arg)).collect();
        Value::from(values).to_string()
    }
}

fn whole_number(arg: &str) -> Value {
    // Only what prints as it was: no leading zero, no sign before zero, no more than an i64 holds.
    match arg.parse::<i64>() {
        Ok(number) if number.to_string() == arg => Value::from(number),
        _ => Value::from(arg),
    }
}

/// Names shorter than this are not taken out: they occur in ordinary words.
const NAME_MIN: usize = 4;

/// Splits a description. `name` and `namespace` are the object's, empty where there is none.
pub fn split(description: &str, name: &str, namespace: &str) -> Template {
    // Stored text has no control characters (Sanitized); should one come through, it must not act as a placeholder.
    let mut body = description.replace(|c: char| c < '\u{8}', "\u{fffd}");
    for (word, place) in [
        (name, placeholder::NAME),
        (namespace, placeholder::NAMESPACE),
    ] {
        if word.len() >= NAME_MIN && body.contains(word) {
            body = body.replace(word, place.encode_utf8(&mut [0; 4]));
        }
    }
    take_arguments(&body)
}

fn take_arguments(text: &str) -> Template {
    let mut body = String::with_capacity(text.len());
    let mut args: Vec<String> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(is_separator).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        // A full stop that ends a sentence is no part of the word.
        let trimmed = word.trim_end_matches(['.', ':']);
        let known = args.iter().position(|arg| arg == trimmed);
        let index = known.or_else(|| {
            let take = is_variable(trimmed) && args.len() < placeholder::ARGS.len();
            take.then(|| {
                args.push(trimmed.to_owned());
                args.len() - 1
            })
        });
        match index {
            Some(index) => {
                body.push(placeholder::ARGS[index]);
                body.push_str(&word[trimmed.len()..]);
            }
            None => body.push_str(word),
        }
        let separator = after.chars().next().map_or(0, char::len_utf8);
        body.push_str(&after[..separator]);
        rest = &after[separator..];
    }
    Template { body, args }
}

fn is_separator(c: char) -> bool {
    // Placeholders separate too: an argument must not hold one.
    c < ' '
        || matches!(
            c,
            ' ' | '"'
                | '\''
                | '('
                | ')'
                | '['
                | ']'
                | '{'
                | '}'
                | ','
                | ';'
                | '='
                | '/'
                | '@'
                | '<'
                | '>'
        )
}

/// Whether a word differs from row to row: a measure (`1.523s`, `31457280`, `10.2.3.4:8080`) or a generated name
/// (`web-7c9f8-x2x9p`). UUIDs stay: they name an object, and its rows repeat them.
fn is_variable(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    // What follows a name that was taken out begins with its hyphen: `-29882145`, a CronJob's run.
    let number = word.strip_prefix('-').unwrap_or(word);
    let measure = number.len() > 3 && number.as_bytes()[0].is_ascii_digit();
    (measure && digits > 1 && !is_uuid(word)) || is_generated_name(word)
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36 && word.bytes().filter(|b| *b == b'-').count() == 4
}

/// Ends in `-` and characters of Kubernetes' alphabet for generated names (apimachinery, `util/rand`): five of a pod, or
/// the eight to ten of a pod template's hash. The alphabet has no vowels, so that ordinary words are none.
fn is_generated_name(word: &str) -> bool {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    word.rsplit_once('-').is_some_and(|(_, suffix)| {
        matches!(suffix.len(), 5 | 8..=10)
            && suffix.bytes().all(|c| ALPHABET.contains(&c))
            && !is_uuid(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the view does, step by step.
    fn expand(template: &Template, name: &str, namespace: &str) -> String {
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
    fn variable_parts_are_taken_out() {
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
    fn only_numbers_that_print_the_same_lose_their_quotes() {
        let template = Template {
            body: String::new(),
            args: [
                "31457280",
                "-29882145",
                "007",
                "-0",
                "1.50",
                "99999999999999999999",
                "+5",
            ]
            .map(str::to_owned)
            .to_vec(),
        };
        assert_eq!(
            template.args_json(),
            r#"[31457280,-29882145,"007","-0","1.50","99999999999999999999","+5"]"#
        );
    }

    proptest! {
        #[test]
        fn template_expands_to_what_was_split(
            text in "([a-z]{1,6}|[0-9]{1,6}[a-z]?|[ /:.,()=\"-]|web-1|shop|é|x-bcdfg){0,40}",
            name in "web-1|shop|[a-z]{0,5}", namespace in "shop|[a-z]{0,4}",
        ) {
            let template = split(&text, &name, &namespace);
            prop_assert_eq!(expand(&template, &name, &namespace), text);
            prop_assert!(template.args.len() <= placeholder::ARGS.len());
        }
    }
}
