//! The standard process metrics of Prometheus, read from `/proc` at each scrape.
//!
//! The client library's own collector depends on a crate for all of `/proc`, for seven numbers.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

/// USER_HZ, the unit of times in `/proc/…/stat`: 100 on every architecture that kube9 is built for.
const TICKS_PER_SECOND: f64 = 100.0;

const CPU: (&str, &str) = (
    "process_cpu_seconds_total",
    "Total user and system CPU time spent in seconds.",
);
const RESIDENT: (&str, &str) = (
    "process_resident_memory_bytes",
    "Resident memory size in bytes.",
);
const VIRTUAL: (&str, &str) = (
    "process_virtual_memory_bytes",
    "Virtual memory size in bytes.",
);
const START: (&str, &str) = (
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
);
const THREADS: (&str, &str) = ("process_threads", "Number of OS threads in the process.");
const OPEN_FDS: (&str, &str) = ("process_open_fds", "Number of open file descriptors.");
const MAX_FDS: (&str, &str) = (
    "process_max_fds",
    "Maximum number of open file descriptors.",
);

const FAMILIES: [(&str, &str); 7] = [CPU, RESIDENT, VIRTUAL, START, THREADS, OPEN_FDS, MAX_FDS];

/// The descriptor that the registry checks for duplicates.
fn desc((name, help): &(&str, &str)) -> Desc {
    Desc::new(
        (*name).to_owned(),
        (*help).to_owned(),
        Vec::new(),
        HashMap::new(),
    )
    .expect("names and helps are literals that tests check")
}

/// A counter or a gauge with the value.
fn family((name, help): (&str, &str), value: f64) -> prometheus::Result<Vec<MetricFamily>> {
    if name.ends_with("_total") {
        let counter = Counter::new(name, help)?;
        counter.inc_by(value);
        return Ok(counter.collect());
    }
    let gauge = Gauge::new(name, help)?;
    gauge.set(value);
    Ok(gauge.collect())
}

/// Collects the metrics of this process. A value that cannot be read is omitted, not reported as 0.
pub(super) struct Process {
    proc: PathBuf,
    descs: Vec<Desc>,
}

impl Process {
    pub(super) fn new() -> Self {
        Self::at(PathBuf::from("/proc"))
    }

    fn at(proc: PathBuf) -> Self {
        Self {
            proc,
            descs: FAMILIES.iter().map(desc).collect(),
        }
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.proc.join(name)).ok()
    }

    /// CPU seconds, and ticks from boot to the start of the process.
    fn times(&self) -> Option<(f64, f64)> {
        let stat = self.read("self/stat")?;
        // The second field, the program's name in parentheses, may contain spaces and parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // Field numbers as in proc(5) are 1-based, and the first one here is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(((field(14)? + field(15)?) / TICKS_PER_SECOND, field(22)?))
    }

    /// The number behind `key` in a file of `key: number …` lines.
    fn number(&self, file: &str, key: &str) -> Option<f64> {
        let text = self.read(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim_start_matches([':', ' ', '\t'])
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let times = self.times();
        let boot = self.number("stat", "btime");
        let start = times
            .zip(boot)
            .map(|((_, ticks), boot)| boot + ticks / TICKS_PER_SECOND);
        // Reading the directory opens it, which adds one descriptor to the count.
        let fds = fs::read_dir(self.proc.join("self/fd"))
            .ok()
            .map(|dir| dir.count());
        let kib = |key| self.number("self/status", key).map(|kib| kib * 1024.0);
        let values = [
            (CPU, times.map(|(cpu, _)| cpu)),
            (RESIDENT, kib("VmRSS")),
            (VIRTUAL, kib("VmSize")),
            (START, start),
            (THREADS, self.number("self/status", "Threads")),
            (OPEN_FDS, fds.map(|count| count.saturating_sub(1) as f64)),
            (MAX_FDS, self.number("self/limits", "Max open files")),
        ];
        values
            .into_iter()
            .filter_map(|(named, value)| family(named, value?).ok())
            .flatten()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(process: &Process) -> Vec<(String, f64)> {
        let value = |family: &MetricFamily| {
            let metric = &family.get_metric()[0];
            metric.get_counter().get_value() + metric.get_gauge().get_value()
        };
        process
            .collect()
            .iter()
            .map(|f| (f.name().to_owned(), value(f)))
            .collect()
    }

    #[test]
    fn collect_reads_each_number_from_its_field() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("self");
        fs::create_dir_all(own.join("fd")).unwrap();
        for fd in ["0", "1", "2", "3"] {
            fs::write(own.join("fd").join(fd), "").unwrap();
        }
        let stat = "42 (a) name (x) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 4 18 12345 1000 20";
        fs::write(own.join("stat"), stat).unwrap();
        fs::write(
            own.join("status"),
            "Name:\tx\nVmSize:\t  2048 kB\nVmRSS:\t    1024 kB\nThreads:\t4\n",
        )
        .unwrap();
        fs::write(own.join("limits"), "Limit Soft Hard\nMax open files            1024                 4096                 files\n").unwrap();
        fs::write(dir.path().join("stat"), "cpu 1 2\nbtime 1700000000\n").unwrap();
        let expected = [
            ("process_cpu_seconds_total", 3.0),
            ("process_resident_memory_bytes", 1_048_576.0),
            ("process_virtual_memory_bytes", 2_097_152.0),
            ("process_start_time_seconds", 1_700_000_123.45),
            ("process_threads", 4.0),
            ("process_open_fds", 3.0),
            ("process_max_fds", 1024.0),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        assert_eq!(collected(&Process::at(dir.path().to_owned())), expected);
    }

    #[test]
    fn collect_omits_what_cannot_be_read() {
        assert_eq!(collected(&Process::at(PathBuf::from("/nonexistent"))), []);
    }

    #[test]
    fn collect_reads_this_process() {
        let values = collected(&Process::new());
        assert_eq!(values.len(), FAMILIES.len(), "{values:?}");
        let start = values.iter().find(|(name, _)| name == START.0).unwrap().1;
        let now = kube9_model::time::Timestamp::now().second() as f64;
        assert!((now - 3600.0..=now + 2.0).contains(&start), "{start} {now}");
    }
}
