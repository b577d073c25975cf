//! How likely the value of a key is a secret: keys of metadata, of JSON and YAML inside a text, of `key=value` pairs and
//! of flags.
//!
//! A key is split into words at everything but letters and digits, and where camelCase begins a new word:
//! `dbPassword`, `DB_PASSWORD` and `db-password` are secret, `author` and `authority` are not. The last word decides:
//! `password_file`, `tokenUrl` and `secret-name` only refer to a secret.
//! Used by redaction, by the metadata of rows and by the rules about literal secrets.

use std::cell::RefCell;
use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

/// How certain it is that the value of a key is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sensitivity {
    /// Not a secret.
    None,
    /// Only as a parameter (`sig=…`, `?key=…`), and if it looks like a secret.
    Parameter,
    /// A key of something (`STRIPE_KEY`), if its value looks like a secret.
    Key,
    /// Usually, but sentences have such words before a colon too ("failed to fetch token: not found").
    Likely,
    /// Always.
    Certain,
}

/// Anywhere in the key, ignoring separators.
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
    "masterkey",
    "presharedkey",
    "keydata",
    "securestring",
    "dockerconfigjson",
    "dockercfg",
    "stringdata",
    "masterauth",
    "passcode",
    "passwort",
    "kennwort",
    "contrasena",
    "motdepasse",
];
/// The last word. `pw` and `pass` also end one: `bindpw`, `storepass`.
const CERTAIN_ENDS: &[&str] = &["pwd", "psk", "pw", "passe"];
/// At the end of the last word, also with an s.
const LIKELY_ENDS: &[&str] = &["token", "secret", "credential"];
/// The last word.
const LIKELY: &[&str] = &[
    "auth",
    "authorization",
    "bearer",
    "pass",
    "cred",
    "creds",
    "jwt",
    "pat",
    "assertion",
    "apitoken",
    "cookie",
    "setcookie",
];
/// The last word.
const PARAMETER: &[&str] = &[
    "appid",
    "code",
    "jsessionid",
    "key",
    "otp",
    "phpsessid",
    "policy",
    "sas",
    "sessid",
    "session",
    "sessionid",
    "sid",
    "sig",
    "signature",
    "sign",
    "ticket",
    "hmac",
];
/// Suffixes that a sensitive key may have: which secret it is, or its encoding.
const QUALIFIERS: &[&str] = &[
    "a",
    "admin",
    "b",
    "backup",
    "base",
    "base64",
    "beta",
    "b64",
    "current",
    "data",
    "default",
    "dev",
    "github",
    "gitlab",
    "global",
    "hash",
    "id",
    "internal",
    "live",
    "local",
    "main",
    "new",
    "next",
    "old",
    "plain",
    "plaintext",
    "previous",
    "primary",
    "prod",
    "production",
    "raw",
    "readonly",
    "ro",
    "root",
    "rw",
    "secondary",
    "slack",
    "stage",
    "staging",
    "string",
    "test",
    "text",
    "value",
    "val",
];
/// A key with one of these suffixes describes a secret and is not one.
const ABOUT: &[&str] = &[
    "age",
    "alg",
    "algo",
    "algorithm",
    "alias",
    "allowed",
    "alphabet",
    "annotation",
    "api",
    "arn",
    "attempt",
    "audience",
    "authentication",
    "backend",
    "bit",
    "bucket",
    "bytes",
    "cache",
    "changed",
    "char",
    "character",
    "charset",
    "class",
    "cleanup",
    "client",
    "complexity",
    "config",
    "controller",
    "cost",
    "count",
    "created",
    "curve",
    "day",
    "depth",
    "dir",
    "directory",
    "disabled",
    "duration",
    "enabled",
    "encoder",
    "encoding",
    "encryption",
    "encryptor",
    "endpoint",
    "env",
    "error",
    "expiration",
    "expire",
    "expiry",
    "exporter",
    "factor",
    "failed",
    "failure",
    "field",
    "file",
    "filename",
    "format",
    "found",
    "generator",
    "group",
    "handler",
    "hasher",
    "header",
    "helper",
    "hint",
    "host",
    "hour",
    "id",
    "interval",
    "issuer",
    "iteration",
    "job",
    "kind",
    "label",
    "leeway",
    "len",
    "length",
    "lifetime",
    "limit",
    "list",
    "location",
    "lockout",
    "manager",
    "max",
    "method",
    "millis",
    "min",
    "minute",
    "missing",
    "mode",
    "month",
    "mount",
    "ms",
    "name",
    "namespace",
    "operator",
    "param",
    "parameter",
    "path",
    "pattern",
    "period",
    "placeholder",
    "policy",
    "port",
    "prefix",
    "present",
    "prompt",
    "provider",
    "proxy",
    "quota",
    "rate",
    "reader",
    "readme",
    "realm",
    "ref",
    "reference",
    "refresher",
    "regex",
    "regexp",
    "renewal",
    "request",
    "required",
    "reset",
    "retention",
    "retries",
    "review",
    "role",
    "rotated",
    "rotation",
    "round",
    "rule",
    "scheme",
    "scope",
    "sec",
    "second",
    "seconds",
    "selector",
    "server",
    "service",
    "similarity",
    "size",
    "skew",
    "source",
    "state",
    "status",
    "stdin",
    "store",
    "strategy",
    "strength",
    "suffix",
    "sync",
    "template",
    "threshold",
    "timeout",
    "ttl",
    "type",
    "updated",
    "uri",
    "url",
    "usage",
    "used",
    "user",
    "username",
    "valid",
    "validation",
    "validator",
    "validity",
    "var",
    "variable",
    "version",
    "volume",
    "week",
    "window",
    "writer",
    "year",
];
/// Words before `key` whose key is not a secret.
const NO_SECRET_KEY: &[&str] = &[
    "arrow",
    "bucket",
    "cache",
    "column",
    "composite",
    "config",
    "dedup",
    "dictionary",
    "event",
    "field",
    "file",
    "foreign",
    "group",
    "hash",
    "host",
    "hot",
    "id",
    "idempotency",
    "index",
    "label",
    "lookup",
    "map",
    "message",
    "node",
    "object",
    "order",
    "partition",
    "primary",
    "pub",
    "public",
    "publishable",
    "range",
    "ref",
    "row",
    "s3",
    "shard",
    "site",
    "sort",
    "storage",
    "topology",
    "translation",
    "unique",
];

/// Bytes at the end of a key that are examined; anything longer is not a key.
const KEY_BYTES_MAX: usize = 128;

/// Classifies a key.
pub fn sensitivity(key: &str) -> Sensitivity {
    match key_meaning(key) {
        KeyMeaning::Holds(sensitivity) => sensitivity,
        KeyMeaning::Describes => Sensitivity::None,
    }
}

/// Whether the key only describes a secret: `PASSWORD_FILE`, `tokenTTL`.
pub fn describes_secret(key: &str) -> bool {
    matches!(key_meaning(key), KeyMeaning::Describes)
}

#[derive(Clone, Copy)]
enum KeyMeaning {
    Holds(Sensitivity),
    /// Where a secret is, how long it is valid, and the like.
    Describes,
}

/// Keys whose meaning is remembered; an object has the same ones again and again.
const REMEMBERED: usize = 512;

/// Longest of them, so that they need at most 64 KiB a thread.
const REMEMBERED_BYTES_MAX: usize = 64;

thread_local! {
    static MEANINGS: RefCell<Vec<(Box<str>, KeyMeaning)>> = const { RefCell::new(Vec::new()) };
}

fn key_meaning(key: &str) -> KeyMeaning {
    if key.len() > REMEMBERED_BYTES_MAX {
        return examine(key);
    }
    MEANINGS.with_borrow_mut(|known| {
        if known.is_empty() {
            // The meaning of an empty key.
            known.resize(REMEMBERED, ("".into(), examine("")));
        }
        let place = FixedState::with_seed(0).hash_one(key) as usize % REMEMBERED;
        let (text, meaning) = &mut known[place];
        if **text != *key {
            (*text, *meaning) = (key.into(), examine(key));
        }
        *meaning
    })
}

fn examine(key: &str) -> KeyMeaning {
    use KeyMeaning::{Describes, Holds};
    let bytes = key.as_bytes();
    let bytes = &bytes[bytes.len().saturating_sub(KEY_BYTES_MAX)..];
    if !may_matter(bytes) {
        return Holds(Sensitivity::None);
    }
    let mut letters = [0; KEY_BYTES_MAX];
    // Start and end of the last three words that are not just digits.
    let mut words = [(0, 0); 3];
    let (mut length, mut word_start, mut count) = (0, 0, 0);
    let mut end_word = |from: usize, to: usize, letters: &[u8; KEY_BYTES_MAX]| {
        if letters[from..to].iter().any(|b| !b.is_ascii_digit()) {
            words = [words[1], words[2], (from, to)];
            count += 1;
        }
    };
    for (i, &byte) in bytes.iter().enumerate() {
        if !byte.is_ascii_alphanumeric() || begins_word(bytes, i) {
            end_word(word_start, length, &letters);
            word_start = length;
        }
        if byte.is_ascii_alphanumeric() {
            letters[length] = byte.to_ascii_lowercase();
            length += 1;
        }
    }
    end_word(word_start, length, &letters);
    let [third, second, last] = words.map(|(from, to)| without_digits(&letters[from..to]));
    let mut found = if holds_certain(&letters[..length]) {
        Sensitivity::Certain
    } else {
        of_word(last, count > 1).max(of_key(last, second, count > 1))
    };
    if found == Sensitivity::None {
        let before = of_word(second, true).max(of_key(second, third, count > 2));
        if before == Sensitivity::None || !QUALIFIERS.iter().any(|word| word.as_bytes() == last) {
            return if before >= Sensitivity::Likely && is_about(last, second) {
                Describes
            } else {
                Holds(Sensitivity::None)
            };
        }
        found = before;
    }
    if last == b"id" && contains(second, b"token") {
        return Holds(Sensitivity::Key);
    }
    if is_about(last, second) && !(count == 1 && last == b"policy") {
        return Describes;
    }
    // `passwordSecret`, `tokenSecretKey`: names of a Secret, and of a key in it.
    let held = |word: &[u8]| contains(word, b"password") || contains(word, b"token");
    if held(second) && last == b"secret" {
        return Holds(Sensitivity::Likely);
    }
    let of_held = held(second) || second == b"credentials" || held(third) && second == b"secret";
    if last == b"key" && of_held {
        return Holds(Sensitivity::Key);
    }
    Holds(found)
}

/// Three letters of each word that a key or a word before a secret must have: one of them is in every word of the tables
/// above, and in the words that `redact` looks for (a test checks both). Most words of a text have none, so that
/// nothing else is asked of them. Letters that are rare in messages of Kubernetes; `^` is the beginning of a word.
#[rustfmt::skip]
const RARE_LETTERS: &[&[u8; 3]] = &[
    // Keys. `pw` is added below.
    b"pas", b"key", b"ecu", b"rco", b"rcf", b"gda", b"uth", b"nnw", b"ras", b"psk", b"oke", b"ecr", b"red", b"bea", b"jwt",
    b"pat", b"sse", b"ook", b"ppi", b"cod", b"ses", b"otp", b"oli", b"sas", b"sid", b"sig", b"ick", b"hma", b"sal",
    // Other words: basic, ssws, splunk, by, login, community, port, character and share, argument, value, phrase, word.
    b"asi", b"sws", b"lun", b"^by", b"ogi", b"mmu", b"por", b"har", b"rgu", b"alu", b"hra", b"ord",
];

/// The number of a letter below 32, from 1; digits share one; [`NO_LETTER`] for separators.
const LETTERS: [u8; 256] = {
    let mut letters = [NO_LETTER; 256];
    let mut byte = 0;
    while byte < 256 {
        let lower = (byte as u8).to_ascii_lowercase();
        if lower.is_ascii_lowercase() {
            letters[byte] = lower - b'a' + 1;
        } else if lower.is_ascii_digit() {
            letters[byte] = 27;
        }
        byte += 1;
    }
    letters
};
const NO_LETTER: u8 = u8::MAX;

/// The last three letters as a number of 15 bits.
const fn followed_by(letters: usize, next: u8) -> usize {
    (letters << 5 | next as usize) & 0x7fff
}

/// A bit for each of [`RARE_LETTERS`].
static IS_RARE: [u64; 512] = {
    let mut rare = [0; 512];
    let mut at = 0;
    while at < RARE_LETTERS.len() {
        let (mut letters, mut i) = (0, 0);
        while i < 3 {
            let byte = RARE_LETTERS[at][i];
            let letter = if byte == b'^' {
                0
            } else {
                LETTERS[byte as usize]
            };
            letters = followed_by(letters, letter);
            i += 1;
        }
        rare[letters / 64] |= 1 << (letters % 64);
        at += 1;
    }
    // `pw` behind any letter, or none.
    let mut before = 0;
    while before < 32 {
        let letters = followed_by(
            followed_by(before, LETTERS[b'p' as usize]),
            LETTERS[b'w' as usize],
        );
        rare[letters / 64] |= 1 << (letters % 64);
        before += 1;
    }
    rare
};

/// Whether a word may be a sensitive key, or another word that `redact` looks for. Separators are ignored.
pub(crate) fn may_matter(word: &[u8]) -> bool {
    let mut letters = 0;
    word.iter().any(|byte| {
        let letter = LETTERS[usize::from(*byte)];
        if letter == NO_LETTER {
            return false;
        }
        letters = followed_by(letters, letter);
        IS_RARE[letters / 64] >> (letters % 64) & 1 != 0
    })
}

/// Whether one of [`CERTAIN`] is in the letters of a key.
fn holds_certain(joined: &[u8]) -> bool {
    const BEGINS: [bool; 256] = {
        let mut begins = [false; 256];
        let mut at = 0;
        while at < CERTAIN.len() {
            begins[CERTAIN[at].as_bytes()[0] as usize] = true;
            at += 1;
        }
        begins
    };
    joined.iter().enumerate().any(|(at, first)| {
        BEGINS[usize::from(*first)]
            && CERTAIN.iter().any(|word| {
                word.as_bytes()[0] == *first && joined[at..].starts_with(word.as_bytes())
            })
    })
}

/// Whether the key only describes a secret: `tokenPath`, `password_length`, but `secret_id` is one.
fn is_about(last: &[u8], second: &[u8]) -> bool {
    let singular = last.strip_suffix(b"s").unwrap_or(last);
    let about = |word: &[u8]| {
        ABOUT
            .binary_search_by(|one| one.as_bytes().cmp(word))
            .is_ok()
    };
    (about(last) || about(singular))
        && !(last == b"id" && (second == b"secret" || second == b"session"))
}

/// `…_KEY`: a secret of something, unless it is a key to look up.
fn of_key(last: &[u8], before: &[u8], has_before: bool) -> Sensitivity {
    let is_key = last == b"key" || last == b"keys";
    if is_key && has_before && !NO_SECRET_KEY.iter().any(|word| word.as_bytes() == before) {
        Sensitivity::Key
    } else {
        Sensitivity::None
    }
}

/// Whether a camelCase word begins at `i`: `d|Password`, `AP|Key` (the last capital belongs to the next word).
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

fn without_digits(word: &[u8]) -> &[u8] {
    let digits = word
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    &word[..word.len() - digits]
}

fn of_word(word: &[u8], qualified: bool) -> Sensitivity {
    /// Words that end in `pass` and are not passwords.
    const PASSES: &[&[u8]] = &[
        b"bypass",
        b"compass",
        b"encompass",
        b"overpass",
        b"surpass",
        b"trespass",
        b"underpass",
    ];
    let is = |words: &[&str]| words.iter().any(|w| w.as_bytes() == word);
    let singular = word.strip_suffix(b"s").unwrap_or(word);
    let passes = word.ends_with(b"pass") && !PASSES.contains(&word);
    if is(CERTAIN_ENDS)
        || passes && (word.len() > 4 || qualified)
        || word.ends_with(b"pw") && word.len() <= 8
    {
        Sensitivity::Certain
    } else if is(LIKELY)
        || LIKELY_ENDS
            .iter()
            .any(|end| singular.ends_with(end.as_bytes()))
    {
        Sensitivity::Likely
    } else if qualified && word == b"salt" {
        Sensitivity::Key
    } else if is(PARAMETER) && !(qualified && word == b"key") || singular.ends_with(b"signature") {
        Sensitivity::Parameter
    } else {
        Sensitivity::None
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensitivity_is_decided_by_words() {
        use Sensitivity::{Certain, Key, Likely, None, Parameter};
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
            ("MYSQL_PWD", Certain),
            ("sig", Parameter),
            ("X-Amz-Signature", Parameter),
            ("author", None),
            ("authority", None),
            ("authentication", None),
            ("oauth2", None),
            ("tokenizer", None),
            ("secretary", None),
            ("monkey", None),
            ("key", Parameter),
            ("MYSQL_ROOT_PASSWORD_2", Certain),
            ("SECRET_KEY_BASE", Certain),
            ("client-key-data", Certain),
            ("bindpw", Certain),
            ("storepass", Certain),
            ("dbPass", Certain),
            ("pass", Likely),
            ("secret_id", Likely),
            ("token_github", Likely),
            ("STRIPE_KEY", Key),
            ("DD_APP_KEY", Key),
            ("PAGERDUTY_ROUTING_KEY", Key),
            ("adminPasswordKey", Key),
            ("passwordSecret", Likely),
            ("TOKEN_ID", Key),
            ("AUTH_SALT", Key),
            ("public_key", None),
            ("partitionKey", None),
            ("topologyKey", None),
            ("password_file", None),
            ("TOKEN_PATH", None),
            ("tokenUrl", None),
            ("auth-uri", None),
            ("secretEndpoint", None),
            ("secretName", None),
            ("passwordRef", None),
            ("tokenTTL", None),
            ("token_type", None),
            ("secrets_count", None),
            ("passwordLength", None),
            ("AUTH_ENABLED", None),
            ("access_key_id", None),
            ("password-manager", None),
            ("passwordPolicy", None),
            ("accessKubernetes", None),
            ("compass", None),
            ("design", None),
            ("", None),
        ] {
            assert_eq!(sensitivity(key), expected, "{key}");
        }
        assert!(ABOUT.is_sorted());
        let long = format!("{}password", "x".repeat(10_000));
        assert_eq!(sensitivity(&long), Certain);
    }

    #[test]
    fn every_word_of_the_tables_has_rare_letters() {
        let ends = ["pass", "pw", "salt", "key", "keys", "signature"];
        let tables = [CERTAIN, CERTAIN_ENDS, LIKELY_ENDS, LIKELY, PARAMETER, &ends];
        for word in tables.concat() {
            for key in [
                word.to_owned(),
                word.to_ascii_uppercase(),
                format!("x{word}2"),
                format!("x_9-{word}_x"),
                word.split_inclusive(|_: char| true)
                    .collect::<Vec<_>>()
                    .join("_"),
            ] {
                assert!(may_matter(key.as_bytes()), "{key}");
            }
        }
        for word in ["", "Created", "container", "web-6f7d8c9b54-x2k4v", "to"] {
            assert!(!may_matter(word.as_bytes()), "{word}");
        }
    }
}
