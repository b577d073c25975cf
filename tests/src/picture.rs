//! Renders terminal output as SVG.
//!
//! Supports the sequences that `kube9-query` writes: bold, faint, four colours, reset. Block characters are drawn as
//! shapes and each run of text is stretched to its columns, so that a picture does not depend on a font.

use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

/// Colours of a terminal.
#[derive(Debug, Clone, Copy)]
pub struct Theme {
    /// Part of the file's name.
    pub name: &'static str,
    background: &'static str,
    text: &'static str,
    faint: &'static str,
    red: &'static str,
    green: &'static str,
    yellow: &'static str,
    cyan: &'static str,
}

/// Dark and light.
pub const THEMES: [Theme; 2] = [
    Theme {
        name: "dark",
        background: "#0d1117",
        text: "#c9d1d9",
        faint: "#6e7681",
        red: "#ff7b72",
        green: "#3fb950",
        yellow: "#d29922",
        cyan: "#39c5cf",
    },
    Theme {
        name: "light",
        background: "#ffffff",
        text: "#24292f",
        faint: "#8c959f",
        red: "#cf222e",
        green: "#1a7f37",
        yellow: "#9a6700",
        cyan: "#1b7c83",
    },
];

/// The pictures of `docs/pictures`: file name, columns of the terminal, arguments. `{id}` stands for an event of the crash loop.
pub const PICTURES: [(&str, u16, &str); 9] = [
    ("status", 90, "status"),
    (
        "list",
        120,
        "events list --since=80m --severity=warning+ --limit=18",
    ),
    (
        "list-80",
        80,
        "events list --since=80m --severity=warning+ --limit=12",
    ),
    (
        "wide",
        200,
        "events list --since=80m --severity=error+ --limit=12 --format=wide",
    ),
    ("get", 100, "events get {id}"),
    (
        "stats",
        90,
        "events stats --since=80m --severity=warning+ --by=reason,name --limit=12",
    ),
    ("timeline", 110, "events timeline --since=2h"),
    ("timeline-80", 80, "events timeline --since=2h"),
    (
        "changes",
        110,
        "changes --since=2h --object-kind=Deployment,ConfigMap,Service",
    ),
];

/// How a run of characters looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Style {
    bold: bool,
    faint: bool,
    /// 31 to 36, as SGR has it.
    colour: u8,
}

impl Style {
    /// After the sequence `ESC [ codes m`.
    fn after(self, codes: &str) -> Self {
        codes.split(';').fold(self, |style, code| match code {
            "1" => Self {
                bold: true,
                ..style
            },
            "2" => Self {
                faint: true,
                ..style
            },
            "31" | "32" | "33" | "36" => Self {
                colour: code.parse().unwrap_or(0),
                ..style
            },
            _ => Self::default(),
        })
    }

    fn fill(self, theme: Theme) -> &'static str {
        match self.colour {
            31 => theme.red,
            32 => theme.green,
            33 => theme.yellow,
            36 => theme.cyan,
            _ if self.faint => theme.faint,
            _ => theme.text,
        }
    }
}

/// Size of a character's cell, and the margin, in pixels.
const CELL: (usize, usize) = (8, 18);
const MARGIN: usize = 12;
/// From the top of a cell to the line on which text stands.
const BASE: usize = 13;

/// Draws what was shown, under a prompt with the command.
pub fn svg(command: &str, shown: &str, columns: usize, theme: Theme) -> String {
    let shown = format!("\u{1b}[2m$\u{1b}[0m {command}\n{shown}");
    let lines: Vec<&str> = shown.trim_end().lines().collect();
    let width = columns * CELL.0 + 2 * MARGIN;
    let height = lines.len() * CELL.1 + 2 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace\" font-size=\"13\">\n\
         <title>{}</title>\n<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{}\"/>\n",
        escaped(command),
        theme.background
    );
    for (row, line) in lines.iter().enumerate() {
        draw(&mut out, line, MARGIN + row * CELL.1, theme);
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, line: &str, top: usize, theme: Theme) {
    let (mut style, mut column, mut run, mut start) = (Style::default(), 0, String::new(), 0);
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some(sequence) = rest.strip_prefix("\u{1b}[")
            && let Some((codes, after)) = sequence.split_once('m')
        {
            text(out, &mut run, start, column, top, style, theme);
            style = style.after(codes);
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        let wide = c.width().unwrap_or(0);
        // Two spaces end a run, so that columns stay where they are.
        if is_block(c) || (c == ' ' && (run.is_empty() || run.ends_with(' '))) {
            text(out, &mut run, start, column, top, style, theme);
            if is_block(c) {
                // Equal neighbours are one shape.
                let more = rest
                    .chars()
                    .take_while(|&next| next == c && c != '▲' && c != '┬');
                let more = more.count();
                rest = &rest[more * c.len_utf8()..];
                block(out, c, column, more + 1, top, style.fill(theme));
                column += more;
            }
        } else {
            if run.is_empty() {
                start = column;
            }
            run.push(c);
        }
        column += wide;
    }
    text(out, &mut run, start, column, top, style, theme);
}

fn text(
    out: &mut String,
    run: &mut String,
    start: usize,
    end: usize,
    top: usize,
    style: Style,
    theme: Theme,
) {
    let run = std::mem::take(run);
    let trimmed = run.trim_end();
    let columns = (end - start).saturating_sub(run.len() - trimmed.len());
    if trimmed.is_empty() {
        return;
    }
    let weight = if style.bold {
        " font-weight=\"bold\""
    } else {
        ""
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" fill=\"{}\"{weight} textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\">{}</text>",
        MARGIN + start * CELL.0,
        top + BASE,
        style.fill(theme),
        columns * CELL.0,
        escaped(trimmed)
    );
}

fn is_block(c: char) -> bool {
    matches!(c, '▁'..='█' | '░' | '─' | '┬' | '▲')
}

fn block(out: &mut String, c: char, column: usize, columns: usize, top: usize, fill: &str) {
    let (x, (w, h)) = (MARGIN + column * CELL.0, (CELL.0 * columns, CELL.1));
    let rect = |y: f64, height: f64, opacity: &str| {
        format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{height}\" fill=\"{fill}\"{opacity}/>\n"
        )
    };
    let middle = top + h / 2;
    let shape = match c {
        '░' => rect(top as f64 + 4.0, h as f64 - 8.0, " opacity=\"0.35\""),
        '─' => rect(middle as f64, 1.0, ""),
        '┬' => {
            let tick = format!(
                "<rect x=\"{}\" y=\"{middle}\" width=\"1\" height=\"{}\" fill=\"{fill}\"/>\n",
                x + w / 2,
                h / 2
            );
            rect(middle as f64, 1.0, "") + &tick
        }
        '▲' => format!(
            "<path d=\"M{x} {}h{w}l-{half} -{w}z\" fill=\"{fill}\"/>\n",
            top + BASE,
            half = w / 2
        ),
        _ => {
            let eighths = f64::from(u32::from(c) - u32::from('▁') + 1);
            let height = h as f64 * eighths / 8.0;
            rect((top + h) as f64 - height, height, "")
        }
    };
    out.push_str(&shape);
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_keeps_colours_and_columns() {
        let shown = "\u{1b}[1mAGE\u{1b}[0m  x\n\u{1b}[31merror\u{1b}[0m  <█>\n";
        let picture = svg("kube9-query status", shown, 40, THEMES[0]);
        for part in [
            "<text x=\"12\" y=\"43\" fill=\"#c9d1d9\" font-weight=\"bold\" textLength=\"24\" lengthAdjust=\"spacingAndGlyphs\">AGE</text>",
            "<text x=\"52\" y=\"43\" fill=\"#c9d1d9\" textLength=\"8\" lengthAdjust=\"spacingAndGlyphs\">x</text>",
            "fill=\"#ff7b72\" textLength=\"40\" lengthAdjust=\"spacingAndGlyphs\">error</text>",
            "&lt;</text>\n<rect x=\"76\" y=\"48\" width=\"8\" height=\"18\" fill=\"#c9d1d9\"/>",
        ] {
            assert!(picture.contains(part), "{part}\n{picture}");
        }
        assert!(!picture.contains('\u{1b}'));
    }
}
