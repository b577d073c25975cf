//! Plots as SVG, drawn by hand: a few points, a logarithmic axis of rows, a line each.

use std::fmt::Write;

/// A named line.
#[derive(Debug, Clone)]
pub struct Line {
    pub name: String,
    /// Rows and value.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 45.0;
const COLOURS: [&str; 6] = [
    "#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a",
];

/// Draws the lines over the number of rows; `limit` is a dashed line.
pub fn svg(title: &str, unit: &str, lines: &[Line], limit: Option<f64>) -> String {
    let all = || lines.iter().flat_map(|line| line.points.iter().copied());
    let highest = all()
        .map(|(_, y)| y)
        .chain(limit)
        .fold(0.0, f64::max)
        .max(1e-9)
        * 1.1;
    let (first, last) = all().fold((f64::MAX, f64::MIN), |(low, high), (x, _)| {
        (low.min(x.log10()), high.max(x.log10()))
    });
    let x = |rows: f64| {
        LEFT + (WIDTH - LEFT - RIGHT) * ((rows.log10() - first) / (last - first).max(1e-9))
    };
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / highest;
    let mut out = String::new();
    let text = |out: &mut String, x: f64, y: f64, anchor: &str, text: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            r##"<text x="{x:.0}" y="{y:.0}" text-anchor="{anchor}" fill="#57606a">{}</text>"##,
            escaped(text)
        );
    };
    let line = |out: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), style: &str| {
        let _ = writeln!(
            out,
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" {style}/>"#
        );
    };
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">"#
    );
    let _ = writeln!(
        out,
        r##"<rect width="100%" height="100%" fill="#ffffff"/>"##
    );
    text(&mut out, LEFT, 22.0, "start", &format!("{title} ({unit})"));
    for step in 0..=4 {
        let value = highest * f64::from(step) / 4.0;
        line(
            &mut out,
            (LEFT, y(value)),
            (WIDTH - RIGHT, y(value)),
            r##"stroke="#d0d7de""##,
        );
        let label = if highest >= 20.0 {
            format!("{value:.0}")
        } else {
            format!("{value:.1}")
        };
        text(&mut out, LEFT - 8.0, y(value) + 4.0, "end", &label);
    }
    let mut marks: Vec<f64> = all().map(|(rows, _)| rows).collect();
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    for rows in marks {
        text(
            &mut out,
            x(rows),
            HEIGHT - BOTTOM + 20.0,
            "middle",
            &short(rows),
        );
    }
    text(
        &mut out,
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 8.0,
        "middle",
        "rows",
    );
    if let Some(limit) = limit {
        line(
            &mut out,
            (LEFT, y(limit)),
            (WIDTH - RIGHT, y(limit)),
            r##"stroke="#d1242f" stroke-dasharray="6 4""##,
        );
        text(
            &mut out,
            WIDTH - RIGHT + 8.0,
            y(limit) + 4.0,
            "start",
            "limit",
        );
    }
    for (n, line) in lines.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let points: Vec<String> = line
            .points
            .iter()
            .map(|(rows, value)| format!("{:.1},{:.1}", x(*rows), y(*value)))
            .collect();
        let _ = writeln!(
            out,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
            points.join(" ")
        );
        for (rows, value) in &line.points {
            let _ = writeln!(
                out,
                r#"<circle cx="{:.1}" cy="{:.1}" r="3" fill="{colour}"/>"#,
                x(*rows),
                y(*value)
            );
        }
        let legend = TOP + 18.0 * n as f64;
        let _ = writeln!(
            out,
            r#"<rect x="{:.0}" y="{:.0}" width="10" height="10" fill="{colour}"/>"#,
            WIDTH - RIGHT + 12.0,
            legend
        );
        text(
            &mut out,
            WIDTH - RIGHT + 28.0,
            legend + 9.0,
            "start",
            &line.name,
        );
    }
    out.push_str("</svg>\n");
    out
}

fn short(rows: f64) -> String {
    if rows >= 1e6 {
        format!("{:.0}M", rows / 1e6)
    } else if rows >= 1e3 {
        format!("{:.0}k", rows / 1e3)
    } else {
        format!("{rows:.0}")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plot_draws_points_and_limit() {
        let lines = [Line {
            name: "a < b".into(),
            points: vec![(1e4, 90.0), (1e5, 95.0), (1e6, 99.0)],
        }];
        let svg = svg("bytes", "B", &lines, Some(100.0));
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains("a &lt; b") && svg.contains("stroke-dasharray") && svg.contains("1M"));
    }
}
