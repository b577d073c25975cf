//! Compares an API server with the answers of a real one, or records them.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use kube9_tests::apiserver::conformance::{self, Shape};

/// Makes the conformance calls against an API server.
#[derive(Debug, Parser)]
struct Args {
    /// Plain HTTP address, e.g. of `kubectl proxy`: http://127.0.0.1:8001.
    #[arg(long)]
    url: String,
    /// Bearer token.
    #[arg(long)]
    token: Option<String>,
    /// Writes the answers to this file.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Compares the answers with this file.
    #[arg(long)]
    compare: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let found =
        conformance::run(&args.url, args.token.as_deref()).context("the server did not answer")?;
    let mut out = io::stdout().lock();
    writeln!(out, "{} calls", found.len())?;
    if let Some(path) = &args.record {
        // One line per call, so that differences between versions are easy to read.
        let lines: Result<Vec<String>, _> = found.iter().map(serde_json::to_string).collect();
        fs::write(path, format!("[\n{}\n]\n", lines?.join(",\n")))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let Some(path) = &args.compare else {
        return Ok(ExitCode::SUCCESS);
    };
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let expected: Vec<Shape> = serde_json::from_str(&text)?;
    let lines = conformance::differences(&expected, &found);
    for line in &lines {
        writeln!(out, "{line}")?;
    }
    Ok(if lines.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
