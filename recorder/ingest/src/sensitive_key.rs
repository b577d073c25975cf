//! Which keys promise a secret: of metadata, of JSON and YAML inside a text, of `key=value` pairs, of flags.
//!
//! A key is taken apart into words, at everything that is no letter or digit and where camelCase begins a new word:
//! `dbPassword`, `DB_PASSWORD` and `db-password` are secret, `author` and `authority` are not.

/// How sure it is that the value of a key is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Secrecy {
    /// It is not.
    None,
    /// As a parameter (`sig=…`), not in a sentence.
    Parameter,
    /// It mostly is, but sentences have such words before a colon too ("failed to fetch token: not found").
    Likely,
    /// It is.
    Certain,
}

/// Anywhere in the key, its separators left out.
const CERTAIN: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "privatekey",
    "secretkey",
    "accesskey",
    "accountkey",
    "sharedkey",
    "encryptionkey",
    "signingkey",
    "dockerconfigjson",
    "dockercfg",
];
/// At the end of a word, also with an s.
const LIKELY_ENDS: &[&str] = &["token", "secret", "credential"];
/// A whole word.
const LIKELY: &[&str] = &["auth", "authorization", "bearer", "pass", "pwd"];
/// A whole word.
const PARAMETER: &[&str] = &["sig", "signature"];

/// Longest part of a key that is looked at: its end. Longer keys are no keys.
const KEY_BYTES_MAX: usize = 128;

/// Judges a key.
pub fn secrecy(key: &str) -> Secrecy {
    let bytes = key.as_bytes();
    let bytes = &bytes[bytes.len().saturating_sub(KEY_BYTES_MAX)..];
    let mut letters = [0; KEY_BYTES_MAX];
    let (mut length, mut word_start) = (0, 0);
    let mut found = Secrecy::None;
    for (i, &byte) in bytes.iter().enumerate() {
        if !byte.is_ascii_alphanumeric() || begins_word(bytes, i) {
            found = found.max(of_word(&letters[word_start..length]));
            word_start = length;
        }
        if byte.is_ascii_alphanumeric() {
            letters[length] = byte.to_ascii_lowercase();
            length += 1;
        }
    }
    found = found.max(of_word(&letters[word_start..length]));
    let certain = CERTAIN
        .iter()
        .any(|word| contains(&letters[..length], word.as_bytes()));
    if certain { Secrecy::Certain } else { found }
}

/// Whether camelCase begins a word at `i`: `d|Password`, `AP|Key` (the last capital belongs to the next word).
fn begins_word(bytes: &[u8], i: usize) -> bool {
    let Some(before) = i.checked_sub(1).map(|before| bytes[before]) else {
        return false;
    };
    bytes[i].is_ascii_uppercase()
        && (before.is_ascii_lowercase()
            || before.is_ascii_digit()
            || (before.is_ascii_uppercase()
                && bytes.get(i + 1).is_some_and(u8::is_ascii_lowercase)))
}

fn of_word(word: &[u8]) -> Secrecy {
    let digits = word
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let word = &word[..word.len() - digits];
    let is = |words: &[&str]| words.iter().any(|w| w.as_bytes() == word);
    let singular = word.strip_suffix(b"s").unwrap_or(word);
    if is(LIKELY)
        || LIKELY_ENDS
            .iter()
            .any(|end| singular.ends_with(end.as_bytes()))
    {
        Secrecy::Likely
    } else if is(PARAMETER) {
        Secrecy::Parameter
    } else {
        Secrecy::None
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_key_decide() {
        use Secrecy::{Certain, Likely, None, Parameter};
        for (key, expected) in [
            ("password", Certain),
            ("PASSWORD", Certain),
            ("dbPassword", Certain),
            ("PGPASSWORD", Certain),
            ("MYSQL_ROOT_PASSWORD", Certain),
            ("passwd", Certain),
            ("pass_word", Certain),
            ("api_key", Certain),
            ("apiKey", Certain),
            ("APIKey", Certain),
            ("HTTPAuth", Likely),
            ("v2Auth", Likely),
            ("X-Api-Key", Certain),
            ("private_key", Certain),
            ("aws_secret_access_key", Certain),
            ("AccountKey", Certain),
            (".dockerconfigjson", Certain),
            ("token", Likely),
            ("idTokens", Likely),
            ("X-Auth-Token", Likely),
            ("accesstoken", Likely),
            ("client_secret", Likely),
            ("credentials", Likely),
            ("auth", Likely),
            ("basicAuth", Likely),
            ("auth2", Likely),
            ("Authorization", Likely),
            ("MYSQL_PWD", Likely),
            ("sig", Parameter),
            ("X-Amz-Signature", Parameter),
            ("author", None),
            ("authority", None),
            ("authentication", None),
            ("oauth2", None),
            ("tokenizer", None),
            ("secretary", None),
            ("monkey", None),
            ("key", None),
            ("accessKubernetes", None),
            ("compass", None),
            ("design", None),
            ("", None),
        ] {
            assert_eq!(secrecy(key), expected, "{key}");
        }
        let long = format!("{}password", "x".repeat(10_000));
        assert_eq!(secrecy(&long), Certain);
    }
}
