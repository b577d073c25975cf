//! Resource quantities, e.g. `250m`, `1.5`, `128Mi`, `1e3`.

use serde::Deserialize;

const SUFFIXES: [(&str, f64); 14] = [
    ("Ki", 1024.0),
    ("Mi", 1048576.0),
    ("Gi", 1073741824.0),
    ("Ti", 1099511627776.0),
    ("Pi", 1125899906842624.0),
    ("Ei", 1152921504606846976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
];

/// A quantity: usually a text, but some servers send `cpu: 1` as a number.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Quantity {
    Text(String),
    Number(f64),
}

impl Quantity {
    /// In thousandths; `None` if it is not a quantity.
    pub(super) fn thousandths(&self) -> Option<i64> {
        match self {
            Self::Text(text) => thousandths(text),
            Self::Number(number) => Some((number * 1000.0) as i64),
        }
    }
}

/// The quantity in thousandths, for CPU (`250m`) and bytes alike.
fn thousandths(text: &str) -> Option<i64> {
    let text = text.trim();
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|number| (number, *factor)))
        .unwrap_or((text, 1.0));
    let value: f64 = number.parse().ok()?;
    // `as` saturates above 8 EiB.
    value
        .is_finite()
        .then_some((value * factor * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantity_every_suffix_is_parsed() {
        for (text, expected) in [
            ("250m", Some(250)),
            ("2", Some(2000)),
            ("1.5", Some(1500)),
            ("128Mi", Some(128 << 20)),
            ("1k", Some(1_000_000)),
            ("1e3", Some(1_000_000)),
            ("", None),
            ("much", None),
        ] {
            let expected = if text == "128Mi" {
                expected.map(|n: i64| n * 1000)
            } else {
                expected
            };
            assert_eq!(thousandths(text), expected, "{text}");
        }
    }
}
