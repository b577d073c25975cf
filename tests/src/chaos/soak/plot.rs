//! The plot of a soak: what was measured, one panel above the other over the same time.
//!
//! It has no background and follows the page's colour scheme.

use std::fmt::Write;

use super::sample::Sample;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 44.0;
const PANEL: f64 = 104.0;
const GAP: f64 = 34.0;
const BOTTOM: f64 = 40.0;

/// Colours by class; the second set is for dark pages.
const STYLE: &str = "\
text{fill:#57606a}.grid{stroke:#d0d7de}.mark{stroke:#9a6700;stroke-dasharray:2 3}.a{stroke:#1f6feb}.b{stroke:#d1242f}\
.c{stroke:#1a7f37}.limit{stroke:#8250df;stroke-dasharray:6 4}.line{fill:none;stroke-width:1.5}\
@media(prefers-color-scheme:dark){text{fill:#9198a1}.grid{stroke:#3d444d}.mark{stroke:#d29922}.a{stroke:#58a6ff}\
.b{stroke:#ff7b72}.c{stroke:#3fb950}.limit{stroke:#bc8cff}}";

type Value = fn(&Sample) -> f64;

/// A line of a panel: its class, its name, its value.
type Line = (&'static str, &'static str, Value);

/// A line as it is drawn: its class, its name, seconds and values.
type Drawn<'a> = (&'a str, &'a str, Vec<(f64, f64)>);

struct Panel {
    title: &'static str,
    lines: &'static [Line],
    /// Whether the limit of the database's size belongs here.
    has_limit: bool,
}

const MIB: f64 = 1_048_576.0;

const PANELS: [Panel; 4] = [
    Panel {
        title: "resident memory of the recorder, MiB",
        lines: &[("a", "memory", |s| s.rss_kib as f64 / 1024.0)],
        has_limit: false,
    },
    Panel {
        title: "files, MiB",
        lines: &[
            ("a", "database", |s| s.file_bytes as f64 / MIB),
            ("c", "used pages", |s| s.used_bytes as f64 / MIB),
            ("b", "write-ahead log", |s| s.wal_bytes as f64 / MIB),
        ],
        has_limit: true,
    },
    Panel {
        title: "items in the queue (at most 1,000)",
        lines: &[("a", "queue", |s| s.queue as f64)],
        has_limit: false,
    },
    Panel {
        title: "behind the API server, seconds",
        lines: &[("b", "lag", |s| s.lag_ms as f64 / 1000.0)],
        has_limit: false,
    },
];

/// Draws the samples; `max_bytes` is the size limit of the database.
pub fn svg(samples: &[Sample], max_bytes: u64) -> String {
    let last = samples.last().map_or(1.0, |sample| sample.second).max(1.0);
    let height = TOP + (PANEL + GAP) * (PANELS.len() + 1) as f64 + BOTTOM - GAP;
    let mut plot = Plot {
        out: String::new(),
        last,
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        plot.out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12"><style>{STYLE}</style>"#
    );
    plot.restarts(samples, height);
    plot.panel(
        0,
        "writes to Events a second",
        &[("c", "load", rates(samples))],
        None,
    );
    for (n, panel) in PANELS.iter().enumerate() {
        let lines: Vec<Drawn<'_>> = panel
            .lines
            .iter()
            .map(|(class, name, value)| {
                let points = samples.iter().map(|s| (s.second, value(s))).collect();
                (*class, *name, points)
            })
            .collect();
        let limit = panel.has_limit.then_some(max_bytes as f64 / MIB);
        plot.panel(n + 1, panel.title, &lines, limit);
    }
    plot.minutes(height);
    plot.out.push_str("</svg>\n");
    plot.out
}

/// Writes a second between each sample and the one before.
fn rates(samples: &[Sample]) -> Vec<(f64, f64)> {
    samples
        .windows(2)
        .map(|pair| {
            let (from, to) = (&pair[0], &pair[1]);
            let seconds = (to.second - from.second).max(0.1);
            let written = to.writes.saturating_sub(from.writes);
            (to.second, written as f64 / seconds)
        })
        .collect()
}

struct Plot {
    out: String,
    last: f64,
}

impl Plot {
    fn x(&self, second: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * second / self.last
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: &str, text: &str) {
        let _ = writeln!(
            self.out,
            r#"<text x="{x:.0}" y="{y:.0}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        let _ = writeln!(
            self.out,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#
        );
    }

    /// A line through all panels at each start of the recorder.
    fn restarts(&mut self, samples: &[Sample], height: f64) {
        for pair in samples.windows(2).filter(|pair| pair[0].run != pair[1].run) {
            let x = self.x(pair[1].second);
            self.line((x, TOP - 14.0), (x, height - BOTTOM), "mark");
            self.text((x, TOP - 20.0), "middle", "restart");
        }
    }

    fn panel(&mut self, number: usize, title: &str, lines: &[Drawn<'_>], limit: Option<f64>) {
        let top = TOP + (PANEL + GAP) * number as f64;
        let values = lines
            .iter()
            .flat_map(|(.., points)| points.iter().map(|(_, y)| *y));
        let highest = values.chain(limit).fold(0.0, f64::max).max(1e-9) * 1.05;
        let y = |value: f64| top + PANEL - PANEL * value / highest;
        self.text((LEFT, top - 6.0), "start", title);
        for step in 0..=2 {
            let value = highest * f64::from(step) / 2.0;
            self.line((LEFT, y(value)), (WIDTH - RIGHT, y(value)), "grid");
            let label = if highest >= 20.0 {
                format!("{value:.0}")
            } else {
                format!("{value:.1}")
            };
            self.text((LEFT - 8.0, y(value) + 4.0), "end", &label);
        }
        let side = WIDTH - RIGHT + 12.0;
        for (n, (class, name, points)) in lines.iter().enumerate() {
            let points: Vec<String> = points
                .iter()
                .map(|(second, value)| format!("{:.1},{:.1}", self.x(*second), y(*value)))
                .collect();
            let _ = writeln!(
                self.out,
                r#"<polyline points="{}" class="line {class}"/>"#,
                points.join(" ")
            );
            let at = top + 12.0 + 16.0 * n as f64;
            self.line(
                (side, at - 4.0),
                (side + 14.0, at - 4.0),
                &format!("line {class}"),
            );
            self.text((side + 20.0, at), "start", name);
        }
        if let Some(limit) = limit {
            self.line((LEFT, y(limit)), (WIDTH - RIGHT, y(limit)), "line limit");
            let at = top + 12.0 + 16.0 * lines.len() as f64;
            self.line((side, at - 4.0), (side + 14.0, at - 4.0), "line limit");
            self.text((side + 20.0, at), "start", "limit of used pages");
        }
    }

    fn minutes(&mut self, height: f64) {
        let minutes = self.last / 60.0;
        for step in 0..=6 {
            let minute = minutes * f64::from(step) / 6.0;
            let at = (self.x(minute * 60.0), height - BOTTOM + 18.0);
            self.text(at, "middle", &format!("{minute:.0}"));
        }
        let middle = (self.x(self.last / 2.0), height - 6.0);
        self.text(middle, "middle", "minutes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plot_draws_panels_restarts_and_limit() {
        let at = |n: u64| Sample {
            second: 5.0 * n as f64,
            writes: 100 * n,
            run: 1 + n / 10,
            rss_kib: 20_480,
            file_bytes: 4 << 20,
            ..Sample::default()
        };
        let samples: Vec<Sample> = (0..30).map(at).collect();
        let drawn = svg(&samples, 8 << 20);
        assert_eq!(drawn.matches("<polyline").count(), 1 + 6);
        assert_eq!(drawn.matches(">restart<").count(), 2);
        assert!(
            drawn.contains("limit of used pages") && drawn.contains("prefers-color-scheme:dark")
        );
        assert_eq!(rates(&samples)[0], (5.0, 20.0));
        assert!(svg(&[], 1).ends_with("</svg>\n"));
    }
}
