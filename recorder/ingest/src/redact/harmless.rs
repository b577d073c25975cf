//! Values that are not secrets, whatever their key: states, object names, sentences, references.

use super::stopwords::{is_state, is_stopword};
use super::value_shape::{
    bare, is_object_name, is_path, is_plain_word, is_quantity, is_random, is_stand_in, is_uuid,
};
use crate::sensitive_key::Sensitivity;

/// Whether the text of a quoted value is not a secret.
pub(super) fn is_harmless_text(sensitivity: Sensitivity, key: &str, value: &str) -> bool {
    if is_stand_in(value) || is_state(value) {
        return true;
    }
    match sensitivity {
        Sensitivity::None => true,
        Sensitivity::Parameter | Sensitivity::Key => !looks_secret(value),
        Sensitivity::Certain => is_path(value),
        Sensitivity::Likely => {
            is_quantity(value)
                || is_path(value)
                || is_plain_address(value)
                || is_stopword(value)
                || names_objects(key) && is_object_name(value)
                || is_sentence(value)
        }
    }
}

/// Several words, one of which is longer than a few random letters.
pub(super) fn is_sentence(text: &str) -> bool {
    let mut words = text.split(' ');
    let long = |word: &str| word.len() > 4 || word.len() > 1 && is_stopword(bare(word));
    words
        .next()
        .is_some_and(|word| is_stopword(bare(word)) || is_plain_word(word))
        && text.contains(' ')
        && text.split(' ').any(long)
        && words.all(|word| {
            is_plain_word(word) || is_quantity(word) || word.is_empty() || is_object_name(word)
        })
}

/// Three or more lower-case words, one of them after the first a stopword: `illegal base64 data at …`.
pub(super) fn is_sentence_of_words(text: &str) -> bool {
    const WORDS_MIN: usize = 3;
    let (mut count, mut known) = (0, false);
    for word in text.split(' ') {
        let numbered = count > 0 && word.starts_with("base64");
        let lower = !word.bytes().any(|b| b.is_ascii_uppercase());
        // People join the words of a passphrase.
        let joined = count == 0 && word.contains(['-', '_', '/']);
        if !(numbered || lower && is_plain_word(word)) || joined {
            break;
        }
        known |= count > 0 && is_stopword(bare(word));
        count += 1;
    }
    count >= WORDS_MIN && known
}

/// A setting: `mode=RBAC`, `SameSite=None`.
pub(super) fn is_setting(value: &str) -> bool {
    value
        .split_once('=')
        .is_some_and(|(name, value)| is_plain_word(name) && value.split(',').all(is_plain_word))
}

/// Keys whose values are usually object names: `secret: db-creds`, `auth: kubernetes`.
pub(super) fn names_objects(key: &str) -> bool {
    let ends = |name: &str| {
        let key = key.as_bytes();
        key.len() >= name.len()
            && key[key.len() - name.len()..].eq_ignore_ascii_case(name.as_bytes())
    };
    [
        "secret",
        "secrets",
        "auth",
        "credential",
        "credentials",
        "creds",
        "authorization",
    ]
    .iter()
    .any(|name| ends(name))
}

/// Keys of which every value is a secret, whatever its shape.
pub(super) fn is_block_key(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    ["stringdata", "data"]
        .iter()
        .any(|name| last.eq_ignore_ascii_case(name))
}

/// A generated value; also shorter than [`is_random`] accepts, and ids.
pub(super) fn looks_secret(value: &str) -> bool {
    const BYTES_MIN: usize = 16;
    let word = bare(value);
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
    is_random(word)
        || is_uuid(word)
        || word.len() >= BYTES_MIN
            && digits >= 2
            && letters >= 2
            && digits + letters + word.matches('-').count() == word.len()
            && !is_object_name(word)
        || word
            .strip_prefix("base64:")
            .is_some_and(|word| word.len() >= BYTES_MIN)
}

/// Whether a parameter of a URL is a secret: `?sig=…` always, `?key=…` if it is more than a word or a number.
pub(super) fn is_secret_parameter(key: &str, value: &str) -> bool {
    const BYTES_MIN: usize = 6;
    let lower = key.to_ascii_lowercase();
    let signed = lower.ends_with("sig") || lower.ends_with("signature");
    let word = bare(value);
    word.len() >= BYTES_MIN
        && (signed || !(is_quantity(word) || is_plain_word(word) || is_object_name(word)))
}

/// An error class before another colon: `AccessDenied`, `EC2MetadataError`.
pub(super) fn is_error_class(word: &str) -> bool {
    let begins = word.as_bytes().first().is_some_and(u8::is_ascii_uppercase);
    begins && word.bytes().all(|b| b.is_ascii_alphanumeric()) && !is_random(word)
}

/// A reference: `name=db-creds`, `key:password`.
pub(super) fn is_reference(value: &str) -> bool {
    ["name=", "name:", "key=", "key:", "namespace=", "secret/"]
        .iter()
        .any(|start| value.starts_with(start))
}

pub(super) fn is_address(value: &str) -> bool {
    value.contains("://") || value.starts_with("//")
}

/// An address without a user: `https://host/path`.
pub(super) fn is_plain_address(value: &str) -> bool {
    ["http://", "https://", "arn:", "urn:"]
        .iter()
        .any(|start| value.starts_with(start))
        && !value.contains(['@', '?'])
}

pub(super) fn is_key_mark(c: char) -> bool {
    matches!(c, '-' | '(' | '{' | '[' | '<' | '=')
}

pub(super) fn is_structure_mark(c: char) -> bool {
    matches!(
        c,
        '{' | '}' | '[' | ']' | ',' | '"' | '\'' | '\\' | ' ' | '\n' | '\t' | '\r'
    )
}

/// Whether a piece of an object does not look like a secret. A piece may be `key:value`.
pub(super) fn is_harmless_leaf(piece: &str) -> bool {
    let piece = piece.trim_matches(':');
    let value = piece.rsplit(['=', ':']).next().unwrap_or(piece);
    piece.is_empty()
        || is_plain_word(piece)
        || is_quantity(piece)
        || is_stand_in(piece)
        || is_object_name(piece)
        || is_plain_address(piece)
        || is_path(piece)
        || is_plain_word(value) && is_plain_word(&piece[..piece.len() - value.len()])
        || is_quantity(value) && is_plain_word(&piece[..piece.len() - value.len()])
}
