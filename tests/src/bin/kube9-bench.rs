//! Measures kube9: `cargo run --release --bin kube9-bench -- storage --rows 1000000`.
//!
//! Prints each figure beside its limit, as a ratio. Absolute figures depend on the machine; ratios less so.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kube9_tests::bench::sheet::Sheet;
use kube9_tests::bench::{ingest, storage};

#[derive(Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// Events, one or more numbers; `100k` and `1M` work.
    #[arg(long, global = true, value_delimiter = ',', value_parser = number, default_value = "100k")]
    rows: Vec<usize>,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// What the generated history follows from.
    #[arg(long, global = true, default_value_t = 9)]
    seed: u64,
}

#[derive(Subcommand)]
enum What {
    /// Bytes an event, by table and index.
    Storage,
    /// Decoded Event to committed row, beside a bare insert.
    Ingest,
}

fn number(text: &str) -> Result<usize, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    digits
        .parse::<usize>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("{text:?} is no number of rows, such as 100000, 100k or 1M"))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut sheet = Sheet::default();
    let measured = measure(&args, &mut sheet);
    let mut out = std::io::stdout().lock();
    let written = if args.json {
        writeln!(out, "{:#}", sheet.json())
    } else {
        sheet.print(&mut out)
    };
    match (measured, written) {
        (Ok(()), Ok(())) => ExitCode::SUCCESS,
        (Err(error), _) => {
            let _ = writeln!(std::io::stderr(), "kube9-bench: {error:#}");
            ExitCode::FAILURE
        }
        (_, Err(_)) => ExitCode::FAILURE,
    }
}

fn measure(args: &Args, sheet: &mut Sheet) -> anyhow::Result<()> {
    for &rows in &args.rows {
        match args.what {
            What::Storage => {
                storage::run(args.seed, rows, sheet)?;
            }
            What::Ingest => {
                ingest::run(args.seed, rows, sheet)?;
            }
        }
    }
    Ok(())
}
