//! Measured values and their limits, as a table or as JSON.

use std::io::{self, Write};

use serde_json::{Value, json};

/// Which side of the limit is good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// The figure must not be larger.
    AtMost(f64),
    /// The figure must not be smaller.
    AtLeast(f64),
    /// For orientation only.
    None,
}

/// One figure.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The figure.
    pub value: f64,
    pub unit: &'static str,
    /// Its limit.
    pub limit: Limit,
}

impl Figure {
    /// Whether it meets its limit; `None` without one.
    pub fn is_met(&self) -> Option<bool> {
        match self.limit {
            Limit::AtMost(limit) => Some(self.value <= limit),
            Limit::AtLeast(limit) => Some(self.value >= limit),
            Limit::None => None,
        }
    }

    /// Ratio of the figure to its limit.
    pub fn ratio(&self) -> Option<f64> {
        match self.limit {
            Limit::AtMost(limit) | Limit::AtLeast(limit) => Some(self.value / limit),
            Limit::None => None,
        }
    }
}

/// Figures in groups.
#[derive(Debug, Clone, Default)]
pub struct Report {
    groups: Vec<(String, Vec<Figure>)>,
    notes: Vec<String>,
}

impl Report {
    /// Begins a group.
    pub fn group(&mut self, title: impl Into<String>) {
        self.groups.push((title.into(), Vec::new()));
    }

    /// Adds a figure to the newest group.
    pub fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str, limit: Limit) {
        if self.groups.is_empty() {
            self.group("");
        }
        if let Some((_, figures)) = self.groups.last_mut() {
            figures.push(Figure {
                name: name.into(),
                value,
                unit,
                limit,
            });
        }
    }

    /// Adds a sentence that belongs below the figures, e.g. what was skipped and why.
    pub fn note(&mut self, sentence: impl Into<String>) {
        self.notes.push(sentence.into());
    }

    /// All figures.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.groups.iter().flat_map(|(_, figures)| figures)
    }

    /// Prints the table.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        for (title, figures) in &self.groups {
            writeln!(out, "\n{title}")?;
            let width = figures
                .iter()
                .map(|f| f.name.chars().count())
                .max()
                .unwrap_or(0);
            for figure in figures {
                let pad = width - figure.name.chars().count();
                let judged = match (figure.limit, figure.ratio(), figure.is_met()) {
                    (Limit::AtMost(limit), Some(ratio), Some(met)) => {
                        format!(
                            "  limit ≤ {:<10} ratio {ratio:.2}{}",
                            short(limit),
                            word(met)
                        )
                    }
                    (Limit::AtLeast(limit), Some(ratio), Some(met)) => {
                        format!(
                            "  limit ≥ {:<10} ratio {ratio:.2}{}",
                            short(limit),
                            word(met)
                        )
                    }
                    _ => String::new(),
                };
                writeln!(
                    out,
                    "  {}{:pad$}  {:>12} {:<6}{judged}",
                    figure.name,
                    "",
                    short(figure.value),
                    figure.unit,
                )?;
            }
        }
        self.notes
            .iter()
            .try_for_each(|note| writeln!(out, "\nNote: {note}"))
    }

    /// The same as JSON.
    pub fn json(&self) -> Value {
        let groups: Vec<Value> = self
            .groups
            .iter()
            .map(|(title, figures)| {
                let figures: Vec<Value> = figures
                    .iter()
                    .map(|f| {
                        let (at_most, at_least) = match f.limit {
                            Limit::AtMost(limit) => (Some(limit), None),
                            Limit::AtLeast(limit) => (None, Some(limit)),
                            Limit::None => (None, None),
                        };
                        json!({
                            "name": f.name, "value": f.value, "unit": f.unit, "at_most": at_most,
                            "at_least": at_least, "ratio": f.ratio(), "met": f.is_met(),
                        })
                    })
                    .collect();
                json!({ "title": title, "figures": figures })
            })
            .collect();
        json!({ "groups": groups, "notes": self.notes })
    }
}

fn word(met: bool) -> &'static str {
    if met { "" } else { "  NOT MET" }
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => {
            let digits = format!("{:.0}", value.abs());
            let mut text = String::new();
            for (n, c) in digits.chars().enumerate() {
                if n > 0 && (digits.len() - n).is_multiple_of(3) {
                    text.push(' ');
                }
                text.push(c);
            }
            if value < 0.0 {
                format!("-{text}")
            } else {
                text
            }
        }
        v if v >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_limit_is_printed() {
        let mut report = Report::default();
        report.group("size");
        report.add("bytes an event", 120.0, "B", Limit::AtMost(100.0));
        report.add("rate", 120_000.0, "/s", Limit::AtLeast(50_000.0));
        let mut text = Vec::new();
        report.print(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].contains("120 B") && lines[2].ends_with("ratio 1.20  NOT MET"));
        assert!(lines[3].contains("120 000 /s") && lines[3].ends_with("ratio 2.40"));
        assert_eq!(
            report.json()["groups"][0]["figures"][0]["met"],
            json!(false)
        );
    }
}
