//! CSV as in RFC 4180, one line for each event: control characters are escaped, so that no field contains a line break, and no
//! field is a formula for a spreadsheet (OWASP, "CSV Injection").

use std::io::{self, Write};

use kube9_db::read::Row;
use serde_json::Value;

use super::{cell, metadata_value, raw_metadata, text_of, to_line};
use crate::args::Field;
use crate::text::{safe, safe_text};

/// Writes rows with the selected columns.
pub(crate) struct Csv<'a> {
    fields: &'a [Field],
}

impl<'a> Csv<'a> {
    pub(crate) const fn new(fields: &'a [Field]) -> Self {
        Self { fields }
    }

    pub(crate) fn write_headings(&self, out: &mut impl Write) -> io::Result<()> {
        let names: Vec<String> = self
            .fields
            .iter()
            .map(|field| quoted(field.name()))
            .collect();
        writeln!(out, "{}", names.join(","))
    }

    pub(crate) fn write_row(&self, out: &mut impl Write, row: &Row) -> io::Result<()> {
        for (i, field) in self.fields.iter().enumerate() {
            let text = match field {
                // With JSON escapes, so that the cell stays JSON.
                Field::Metadata => match raw_metadata(row) {
                    Some(raw) => quoted(&to_line(&raw).map_err(io::Error::from)?),
                    None => quoted(row.metadata.as_deref().unwrap_or("{}")),
                },
                Field::MetadataKey(path) => match metadata_value(row, path) {
                    Value::Number(number) => number.to_string(),
                    value => quoted(&cell(&value)),
                },
                Field::Title | Field::Description => {
                    quote_escaped(&safe_text(text_of(row, field).unwrap_or_default()))
                }
                column => quoted(text_of(row, column).unwrap_or_default()),
            };
            write!(out, "{}{text}", if i > 0 { "," } else { "" })?;
        }
        writeln!(out)
    }
}

/// A cell, quoted if necessary.
pub(crate) fn quoted(text: &str) -> String {
    quote_escaped(&safe(text))
}

/// Quotes text that is escaped already. A cell that a spreadsheet would execute gets a leading apostrophe, which marks text in
/// spreadsheets. Also quotes semicolons, since some programs split at them.
fn quote_escaped(text: &str) -> String {
    let mark = if is_formula(text) { "'" } else { "" };
    let is_split = text.contains([',', ';', '"']) || text.starts_with(' ') || text.ends_with(' ');
    if is_split {
        format!("\"{mark}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{mark}{text}")
    }
}

/// Whether a spreadsheet that trims spaces and quotes would read a cell as a formula. An apostrophe counts as a quote, so that
/// the mark can be removed again: a cell that starts with an apostrophe before a formula has exactly one too many.
fn is_formula(text: &str) -> bool {
    let is_trimmed =
        |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '’' | '‘' | '“' | '”');
    text.trim_start_matches(is_trimmed).starts_with([
        '=', '+', '-', '@', '＝', '＋', '－', '＠', '﹦', '﹢', '﹣', '﹫', '−',
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_formula_gets_apostrophe() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-cmd|' /C calc'!A0", "'-cmd|' /C calc'!A0"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("  =1", "\"'  =1\""),
            ("\"=1,2", "\"'\"\"=1,2\""),
            ("'=1", "''=1"),
            ("＝1+1", "'＝1+1"),
            ("＠x", "'＠x"),
            ("\u{a0}=1", "\\u{a0}=1"),
            ("\t=1", "\\t=1"),
            ("\r=1", "\\r=1"),
            ("\u{200b}=1", "\\u{200b}=1"),
            ("a;=1", "\"a;=1\""),
            ("a=1", "a=1"),
            ("'quoted'", "'quoted'"),
            ("web-1", "web-1"),
        ] {
            assert_eq!(quoted(text), expected, "{text:?}");
        }
    }

    #[test]
    fn write_row_metadata_number_stays_number() {
        let row = Row {
            metadata: Some(r#"{"exit_code":-1,"reason":"-1","k\u202e":"=x"}"#.into()),
            ..Row::default()
        };
        let fields = [
            Field::MetadataKey("metadata.exit_code".into()),
            Field::MetadataKey("metadata.reason".into()),
            Field::Metadata,
        ];
        let mut out = Vec::new();
        Csv::new(&fields).write_row(&mut out, &row).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "-1,'-1,\"{\"\"exit_code\"\":-1,\"\"reason\"\":\"\"-1\"\",\"\"k\\u202e\"\":\"\"=x\"\"}\"\n"
        );
    }

    #[test]
    fn write_row_any_text_stays_in_its_field() {
        let row = Row {
            id: "evt_1".into(),
            title: "a \"b\", c".into(),
            description: Some("x\r\ny\u{1b}".into()),
            metadata: Some(r#"{"reason":"BackOff","count":3}"#.into()),
            ..Row::default()
        };
        let fields = [
            Field::Id,
            Field::Title,
            Field::Description,
            Field::ObjectName,
            Field::MetadataKey("metadata.count".into()),
        ];
        let mut out = Vec::new();
        let csv = Csv::new(&fields);
        csv.write_headings(&mut out).unwrap();
        csv.write_row(&mut out, &row).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "id,title,description,object_name,metadata.count\nevt_1,\"a \"\"b\"\", c\",x\\r\\ny\\u{1b},,3\n"
        );
    }
}
