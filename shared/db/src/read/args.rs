//! Parses `event.args`: a JSON array of strings and integers, if the recorder wrote it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A longer text is left to SQLite: parsed it would take many times its bytes. The recorder stores at most 4 KiB.
const BYTES_MAX: usize = 64 << 10;

/// An argument of a description.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arg<'r> {
    Text(Cow<'r, str>),
    Number(i64),
}

impl<'de> Deserialize<'de> for Arg<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ArgVisitor)
    }
}

/// Written by hand: an untagged enum creates an error for each number, which took longer than the search.
struct ArgVisitor;

impl<'de> Visitor<'de> for ArgVisitor {
    type Value = Arg<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a whole number")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Arg::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Arg::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Arg::Number(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        i64::try_from(number).map(Arg::Number).map_err(E::custom)
    }
}

/// The arguments of a row. `None` for anything else, which SQLite parses.
pub(super) fn parse_args(json: &[u8]) -> Option<Vec<Arg<'_>>> {
    (json.len() <= BYTES_MAX)
        .then(|| serde_json::from_slice(json).ok())
        .flatten()
}

impl Arg<'_> {
    pub(super) fn push_to(&self, text: &mut String) {
        match self {
            Self::Text(arg) => text.push_str(arg),
            Self::Number(arg) => text.push_str(&arg.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn parse_args_equals_sqlite() {
        let db = Connection::open_in_memory().unwrap();
        for json in [
            r#"["a","b c"]"#,
            r#"[-12,"a,]",3]"#,
            r#"[""]"#,
            "[]",
            r#"["a\"b","c\\\u00e9\n","\u0000"]"#,
            r#"[ "a" , 7 ]"#,
            "[9223372036854775807,-9223372036854775808]",
            "[1,2,3,4,5,6]",
        ] {
            let args = parse_args(json.as_bytes()).unwrap();
            for at in 0..5 {
                let sql = format!("SELECT ifnull(json_extract(?, '$[{at}]'), '') || ''");
                let expected: String = db.query_row(&sql, [json], |row| row.get(0)).unwrap();
                let mut text = String::new();
                args.iter()
                    .skip(at)
                    .take(1)
                    .for_each(|arg| arg.push_to(&mut text));
                assert_eq!(text, expected, "{json} {at}");
            }
        }
    }

    #[test]
    fn parse_args_unexpected_json_is_left_to_sqlite() {
        let long = format!("[{}1]", "1,".repeat(BYTES_MAX));
        for json in [
            "[1.5]",
            "[-0]",
            "[1e3]",
            "[9223372036854775808]",
            "[null]",
            "[true]",
            "[[1]]",
            "{}",
            "null",
            "[1",
            r#"["a""#,
            r#"["\ud800"]"#,
            "",
            &long,
        ] {
            assert_eq!(parse_args(json.as_bytes()), None, "{json}");
        }
    }
}
