//! CSV as RFC 4180 has it, one line an event: control characters are written out, so no field breaks a line.

use std::io::{self, Write};

use kube9_shared::read::Row;

use super::{cell, metadata_value, text_of};
use crate::args::Field;
use crate::text::safe;

/// Writes rows of the chosen fields.
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
                Field::Metadata => quoted(row.metadata.as_deref().unwrap_or("{}")),
                Field::MetadataKey(path) => quoted(&cell(&metadata_value(row, path))),
                column => quoted(text_of(row, column).unwrap_or_default()),
            };
            write!(out, "{}{text}", if i > 0 { "," } else { "" })?;
        }
        writeln!(out)
    }
}

/// A cell, quoted where it must be.
pub(crate) fn quoted(text: &str) -> String {
    let text = safe(text);
    if text.contains([',', '"']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_breaks_a_line_or_a_column() {
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
