//! What is measured every few seconds, and its file.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rustix::process::Pid;

/// One moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Seconds since the start.
    pub second: f64,
    /// Phase of the load.
    pub phase: String,
    /// Writes to Events so far.
    pub writes: u64,
    /// Runs of the recorder so far.
    pub run: u64,
    /// Faults so far.
    pub faults: u64,
    /// Resident memory of the recorder; 0 while there is none.
    pub rss_kib: u64,
    /// Size of the database file.
    pub file_bytes: u64,
    /// Used pages of it.
    pub used_bytes: u64,
    /// Size of the write-ahead log.
    pub wal_bytes: u64,
    /// Rows of Events in the database.
    pub rows: u64,
    /// Items in the queue.
    pub queue: u64,
    /// Rows committed as new in this run, of all kinds.
    pub events_total: u64,
    /// Delay of the record behind the API server.
    pub lag_ms: u64,
    /// Longest time of a query process since the sample before; 0 if there was none.
    pub query_ms: u64,
}

const HEAD: &str = "second,phase,writes,run,faults,rss_kib,file_bytes,used_bytes,wal_bytes,rows,queue,events_total,lag_ms,query_ms";

/// The samples as a table of text.
pub fn csv(samples: &[Sample]) -> String {
    let mut out = format!("{HEAD}\n");
    for s in samples {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{:.1},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            s.second,
            s.phase,
            s.writes,
            s.run,
            s.faults,
            s.rss_kib,
            s.file_bytes,
            s.used_bytes,
            s.wal_bytes,
            s.rows,
            s.queue,
            s.events_total,
            s.lag_ms,
            s.query_ms
        );
    }
    out
}

/// Reads what [`csv`] wrote.
pub fn parse(text: &str) -> anyhow::Result<Vec<Sample>> {
    let mut lines = text.lines();
    anyhow::ensure!(
        lines.next() == Some(HEAD),
        "the file is not a table of a soak"
    );
    lines
        .map(|line| sample(line).with_context(|| line.to_owned()))
        .collect()
}

fn sample(line: &str) -> anyhow::Result<Sample> {
    let mut fields = line.split(',');
    let mut next = || fields.next().context("a field is missing");
    Ok(Sample {
        second: next()?.parse()?,
        phase: next()?.to_owned(),
        writes: next()?.parse()?,
        run: next()?.parse()?,
        faults: next()?.parse()?,
        rss_kib: next()?.parse()?,
        file_bytes: next()?.parse()?,
        used_bytes: next()?.parse()?,
        wal_bytes: next()?.parse()?,
        rows: next()?.parse()?,
        queue: next()?.parse()?,
        events_total: next()?.parse()?,
        lag_ms: next()?.parse()?,
        query_ms: next()?.parse()?,
    })
}

/// Resident memory of a process in KiB; `None` if the process does not exist.
pub(super) fn resident_kib(id: Pid) -> Option<u64> {
    let path = format!("/proc/{}/status", id.as_raw_nonzero());
    let status = std::fs::read_to_string(path).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Size of a file by its name: a process with an open SQLite connection must not open the database's files otherwise.
pub(super) fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Memory of one run of the recorder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunMemory {
    /// Its number, from 1.
    pub run: u64,
    /// Measured duration, without the start.
    pub seconds: f64,
    /// Mean of the early half, in KiB.
    pub early_kib: f64,
    /// Mean of the late half, in KiB.
    pub late_kib: f64,
    /// Largest value, in KiB.
    pub peak_kib: u64,
    /// Least squares, in KiB a minute.
    pub slope_kib: f64,
}

/// Memory by run; excludes `warm_up` at the start of each, and runs with fewer than ten samples after it.
pub fn memory(samples: &[Sample], warm_up: Duration) -> Vec<RunMemory> {
    let runs = samples.last().map_or(0, |last| last.run);
    (1..=runs)
        .filter_map(|run| {
            let of: Vec<&Sample> = samples.iter().filter(|s| s.run == run).collect();
            let begin = of.first()?.second + warm_up.as_secs_f64();
            let of: Vec<(f64, u64)> = of
                .iter()
                .filter(|s| s.second >= begin && s.rss_kib > 0)
                .map(|s| (s.second, s.rss_kib))
                .collect();
            (of.len() >= 10).then(|| run_memory(run, &of))
        })
        .collect()
}

fn run_memory(run: u64, of: &[(f64, u64)]) -> RunMemory {
    let mean = |part: &[(f64, u64)]| {
        part.iter().map(|(_, kib)| *kib as f64).sum::<f64>() / part.len() as f64
    };
    let (early, late) = of.split_at(of.len() / 2);
    let all = mean(of);
    let middle = of.iter().map(|(second, _)| second).sum::<f64>() / of.len() as f64;
    let (mut along, mut square) = (0.0, 0.0);
    for (second, kib) in of {
        along += (second - middle) * (*kib as f64 - all);
        square += (second - middle).powi(2);
    }
    RunMemory {
        run,
        seconds: of[of.len() - 1].0 - of[0].0,
        early_kib: mean(early),
        late_kib: mean(late),
        peak_kib: of.iter().map(|(_, kib)| *kib).max().unwrap_or(0),
        slope_kib: 60.0 * along / square.max(f64::MIN_POSITIVE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(from: u64, run: u64, step: u64) -> Vec<Sample> {
        let at = |n: u64| Sample {
            second: (from + 5 * n) as f64,
            phase: "steady".to_owned(),
            run,
            rss_kib: 10_000 + step * n,
            wal_bytes: n,
            ..Sample::default()
        };
        (0..40).map(at).collect()
    }

    #[test]
    fn samples_round_trip_through_csv() {
        let samples = line(0, 1, 3);
        assert_eq!(parse(&csv(&samples)).unwrap(), samples);
        assert!(parse("second\n").is_err());
        assert!(parse(&format!("{HEAD}\n1.0,x,2\n")).is_err());
    }

    #[test]
    fn memory_growth_is_computed_per_run() {
        let mut samples = line(0, 1, 0);
        samples.extend(line(200, 2, 50));
        samples.extend(line(400, 3, 0).into_iter().take(12));
        let found = memory(&samples, Duration::from_secs(30));
        assert_eq!(found.len(), 2, "the third run is too short");
        assert_eq!((found[0].early_kib, found[0].slope_kib), (10_000.0, 0.0));
        assert!((found[1].slope_kib - 600.0).abs() < 1e-6, "{:?}", found[1]);
        assert!(found[1].late_kib > found[1].early_kib + 800.0);
        assert_eq!(found[1].peak_kib, 10_000 + 39 * 50);
    }
}
