//! JSON without characters that are invisible or control a terminal: also escapes those that serde_json does not (C1 controls,
//! bidirectional marks, joiners). The value is unchanged.

use std::io::{self, Write};

use kube9_model::invisible::is_invisible;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// Writes indented JSON without a final newline. Streams, since a thousand rows are a megabyte of text.
pub(crate) fn write_text(
    out: &mut impl Write,
    document: &impl Serialize,
) -> serde_json::Result<()> {
    let formatter = EscapingFormatter(PrettyFormatter::new(), Escapes::Json);
    document.serialize(&mut Serializer::with_formatter(out, formatter))
}

/// JSON on one line, without a newline.
pub(crate) fn to_line(document: &impl Serialize) -> serde_json::Result<String> {
    let (mut bytes, formatter) = (
        Vec::new(),
        EscapingFormatter(CompactFormatter, Escapes::Json),
    );
    document.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))?;
    String::from_utf8(bytes).map_err(|error| serde_json::Error::io(io::Error::other(error)))
}

/// Writes JSON that is valid YAML for any character, without a final newline.
pub(crate) fn write_yaml_flow(
    out: &mut impl Write,
    document: &impl Serialize,
) -> serde_json::Result<()> {
    let formatter = EscapingFormatter(PrettyFormatter::new(), Escapes::Yaml);
    document.serialize(&mut Serializer::with_formatter(out, formatter))
}

/// A value in YAML's flow style on one line.
pub(crate) fn to_yaml_line(value: &serde_json::Value) -> String {
    let (mut bytes, formatter) = (
        Vec::new(),
        EscapingFormatter(CompactFormatter, Escapes::Yaml),
    );
    // Serializing a value into memory cannot fail.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Escape style of a character above U+FFFF.
#[derive(Clone, Copy)]
enum Escapes {
    /// Two surrogates.
    Json,
    /// `\UXXXXXXXX`
    Yaml,
}

/// Wraps a formatter and escapes hidden characters.
struct EscapingFormatter<F>(F, Escapes);

fn write_escaped(out: &mut (impl Write + ?Sized), text: &str, escapes: Escapes) -> io::Result<()> {
    // Most text is plain ASCII, and checking bytes is much cheaper than checking characters.
    if text.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
        return out.write_all(text.as_bytes());
    }
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_invisible(c)) {
        out.write_all(&rest.as_bytes()[..at])?;
        if matches!(escapes, Escapes::Yaml) && c > '\u{ffff}' {
            write!(out, "\\U{:08x}", u32::from(c))?;
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(out, "\\u{unit:04x}")?;
            }
        }
        rest = &rest[at + c.len_utf8()..];
    }
    out.write_all(rest.as_bytes())
}

impl<F: Formatter> Formatter for EscapingFormatter<F> {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        write_escaped(out, fragment, self.1)
    }

    // Stored JSON text: such characters can only occur within its strings.
    fn write_raw_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        write_escaped(out, fragment, self.1)
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_line_hidden_characters_are_escaped_and_value_unchanged() {
        let text = "a\u{1b}[31m\u{9b}2J\u{202e}\u{7f}\u{e0041} é 漢 \"q\"";
        let line = to_line(&text).unwrap();
        assert!(!line.chars().any(is_invisible), "{line}");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }

    #[test]
    fn write_yaml_flow_hidden_characters_round_trip() {
        let text = "a\u{202e}\u{e0041}\u{feff} 漢\n\u{1b}";
        let mut flow = Vec::new();
        write_yaml_flow(&mut flow, &[text]).unwrap();
        let flow = String::from_utf8(flow).unwrap();
        assert!(
            !flow.chars().any(|c| c != '\n' && is_invisible(c)),
            "{flow}"
        );
        assert_eq!(serde_yaml::from_str::<Vec<String>>(&flow).unwrap(), [text]);
    }

    #[test]
    fn to_line_raw_json_is_escaped() {
        let raw: Box<serde_json::value::RawValue> =
            serde_json::value::RawValue::from_string("{\"k\":\"\u{9b}\"}".to_owned()).unwrap();
        assert_eq!(to_line(&raw).unwrap(), r#"{"k":"\u009b"}"#);
    }
}
