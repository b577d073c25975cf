//! Reads `event.args`, a JSON array, without a parser where it is plain: what nearly every row has.

use crate::schema::placeholder;

/// The arguments of a row, without a parser: strings without escapes and numbers. `None` for any other text.
pub(super) fn args(json: &[u8]) -> Option<Args<'_>> {
    let mut found = Args::default();
    let mut rest = json.strip_prefix(b"[")?;
    loop {
        let value;
        if let Some(string) = rest.strip_prefix(b"\"") {
            let end = string.iter().position(|&byte| byte == b'"')?;
            value = &string[..end];
            rest = &string[end + 1..];
        } else {
            let end = rest.iter().position(|byte| matches!(byte, b',' | b']'))?;
            value = &rest[..end];
            rest = &rest[end..];
            let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'-';
            if value.is_empty() || !value.iter().all(is_number) {
                return None;
            }
        }
        if value.contains(&b'\\') {
            return None;
        }
        *found.values.get_mut(found.count)? = value;
        found.count += 1;
        match rest {
            [b',', more @ ..] => rest = more,
            [b']'] => return Some(found),
            _ => return None,
        }
    }
}

/// Arguments of a row.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Args<'r> {
    values: [&'r [u8]; placeholder::ARGS.len()],
    count: usize,
}

impl<'r> Args<'r> {
    /// An argument; a missing one is filled in as nothing.
    pub(super) fn get(&self, at: usize) -> &'r [u8] {
        self.values.get(at).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_without_a_parser_only_when_they_are_plain() {
        let values = |json: &str| -> Option<Vec<String>> {
            args(json.as_bytes()).map(|args| {
                (0..args.count)
                    .map(|at| String::from_utf8_lossy(args.get(at)).into_owned())
                    .collect()
            })
        };
        assert_eq!(
            values(r#"["a","b c"]"#),
            Some(vec!["a".into(), "b c".into()])
        );
        assert_eq!(
            values(r#"[-12,"a,]",3]"#),
            Some(vec!["-12".into(), "a,]".into(), "3".into()])
        );
        assert_eq!(values(r#"[""]"#), Some(vec![String::new()]));
        for other in [
            "[]",
            "[1.5]",
            "[null]",
            r#"["a\"b"]"#,
            r#"["a\\b"]"#,
            r#"["a", "b"]"#,
            "null",
            "[1,2,3,4,5,6]",
            "[1",
            r#"["a""#,
            r#"["a"1]"#,
            "",
        ] {
            assert_eq!(values(other), None, "{other}");
        }
        assert_eq!(args(b"[7]").unwrap().get(1), b"");
    }
}
