//! SQL text together with the values it binds, so that input never becomes SQL.

use rusqlite::types::Value;

use super::filter::Pattern;

/// SQL text with one `?` for each of its values, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Sql {
    pub(super) text: String,
    pub(super) values: Vec<Value>,
}

impl Sql {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            values: Vec::new(),
        }
    }

    /// Appends SQL text, which must not come from input.
    pub(super) fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Appends a `?` that stands for `value`.
    pub(super) fn bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.text.push('?');
        self.values.push(value.into());
        self
    }

    /// Appends another statement part.
    pub(super) fn append(&mut self, other: &Self) -> &mut Self {
        self.text.push_str(&other.text);
        self.values.extend_from_slice(&other.values);
        self
    }

    /// Appends ` AND (…)`.
    pub(super) fn and(&mut self, condition: &Self) -> &mut Self {
        self.push(" AND (").append(condition).push(")")
    }
}

/// Whether upper and lower case (ASCII) differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Matters,
    Ignored,
}

/// `column` matches one of the patterns. Patterns must not be empty.
pub(super) fn matches(column: &str, patterns: &[Pattern], case: Case) -> Sql {
    let mut sql = Sql::default();
    for (i, pattern) in patterns.iter().enumerate() {
        sql.push(if i > 0 { " OR " } else { "" });
        match (pattern, case) {
            (Pattern::Exact(name), Case::Matters) => {
                sql.push(column).push(" = ").bind(name.clone())
            }
            (Pattern::Exact(name), Case::Ignored) => sql
                .push(column)
                .push(" = ")
                .bind(name.clone())
                .push(" COLLATE NOCASE"),
            (Pattern::Glob(glob), Case::Matters) => {
                sql.push(column).push(" GLOB ").bind(glob.clone())
            }
            (Pattern::Glob(glob), Case::Ignored) => sql
                .push("lower(")
                .push(column)
                .push(") GLOB ")
                .bind(glob.to_ascii_lowercase()),
        };
    }
    sql
}

/// `column` is one of these codes, which must ascend. Consecutive codes become a range: SQLite materializes a longer `IN`
/// and searches it for each row.
pub(super) fn one_of(column: &str, codes: &[i64]) -> String {
    match codes {
        [code] => format!("{column} = {code}"),
        [first, .., last] if last - first == codes.len() as i64 - 1 => {
            format!("{column} BETWEEN {first} AND {last}")
        }
        _ => format!("{column} IN {}", list(codes.iter().copied())),
    }
}

/// `[1,2,3]`, to be bound as the argument of `json_each`: parsing a long list as part of the statement takes longer than
/// reading the rows, and megabytes.
pub(super) fn json(numbers: impl IntoIterator<Item = i64>) -> String {
    let mut text = list(numbers);
    text.replace_range(..1, "[");
    text.truncate(text.len() - 1);
    text.push(']');
    text
}

/// `(1,2,3)`
pub(super) fn list(numbers: impl IntoIterator<Item = i64>) -> String {
    let mut text = String::from("(");
    for (i, number) in numbers.into_iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push_str(&number.to_string());
    }
    text.push(')');
    text
}
