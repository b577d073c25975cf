//! `events watch`: follows new and updated events.
//!
//! ```text
//!   open ── tail ── file changed? ── data_version changed? ── committed_after ── write, flush ─┐
//!     ▲               ▲────────────────────── wait, polling stdout ────────────────────────────┘
//!     └── the file was replaced, or cannot be read (the recorder restarts)
//! ```
//!
//! While idle, each poll is two `stat` calls: a commit changes the modification time of the database or its WAL.
//! The process exits when the pipe of stdout is closed, which poll(2) reports even without a write. In a container that is not
//! sufficient: when the client of `kubectl exec` disconnects, the runtime keeps reading stdout and keeps the terminal open.
//! With `-i` it closes stdin, which also ends the process; in any case such a process has a maximum lifetime.

use std::fs::Metadata;
use std::io::{Write, stderr, stdin, stdout};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use kube9_db::read::{CommitSeq, Filter, Reader, Row};
use kube9_model::time::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::process::{getpid, getppid};

use super::event_table::Streamed;
use super::{Context, event_table};
use crate::args::{Field, Format, WatchArgs};
use crate::error::CliError;
use crate::output::{self, Event, MetadataEncoding, Stdout};
use crate::text::{counted, safe};
use crate::watchdog;

/// Interval of polling. A row is shown within a second of its commit.
const POLL_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 400_000_000,
};
/// File systems record times in ticks of up to 10 ms: a file that was written less than this ago can change again without
/// a new modification time.
const STABLE_AFTER: Duration = Duration::from_millis(100);
/// Maximum lifetime of a process started by `kubectl exec`: one whose client has disconnected must not run as long as the pod.
const EXEC_LIFETIME_MAX: Duration = Duration::from_secs(3600);
/// Interval of retries while the database cannot be read.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn run(context: &Context, args: &WatchArgs) -> Result<(), CliError> {
    let filter = args.filter.resolve(&context.now())?;
    follow(context, &filter, args.tail, Streamed::Events)
}

/// Prints the newest `tail` rows of a filter, then new and updated ones.
pub(super) fn follow(
    context: &Context,
    filter: &Filter,
    tail: usize,
    rows: Streamed,
) -> Result<(), CliError> {
    let client = Client::begin();
    let mut sink = Sink::new(context, rows);
    let mut follower = Follower::begin(context, filter, tail, &mut sink)?;
    loop {
        sink.out.flush()?;
        if !watchdog::pause(|| client.wait(POLL_INTERVAL))? {
            return Ok(());
        }
        watchdog::restart();
        follower.poll(context, filter, &mut sink)?;
    }
}

/// The reader of stdout.
struct Client {
    /// Whether the end of stdin means that the client has disconnected.
    has_stdin: bool,
}

impl Client {
    fn begin() -> Self {
        // A process of `kubectl exec` has no parent inside the container; nor has its main process.
        let is_exec = getppid().is_none() && !getpid().is_init();
        if is_exec {
            // In its own thread: the main thread may be blocked in a write.
            std::thread::spawn(|| {
                std::thread::sleep(EXEC_LIFETIME_MAX);
                print_note(
                    "exiting after one hour, the limit for kubectl exec; run the command again to continue",
                );
                std::process::exit(0);
            });
        }
        let is_pipe = fstat(stdin()).is_ok_and(|stat| {
            matches!(
                FileType::from_raw_mode(stat.st_mode),
                FileType::Fifo | FileType::Socket
            )
        });
        Self {
            has_stdin: is_exec && is_pipe,
        }
    }

    /// Waits; `false` if the client has disconnected.
    fn wait(&self, time: Timespec) -> Result<bool, CliError> {
        let (out, input) = (stdout(), stdin());
        let mut fds = [
            PollFd::new(&out, PollFlags::empty()),
            PollFd::new(&input, PollFlags::empty()),
        ];
        let fds = &mut fds[..if self.has_stdin { 2 } else { 1 }];
        match poll(fds, Some(&time)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(true),
            Err(error) => return Err(CliError::Write(error.into())),
        }
        let closed = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        Ok(!fds.iter().any(|fd| fd.revents().intersects(closed)))
    }
}

/// Device and inode of the file, which change if it is replaced.
type FileId = Option<(u64, u64)>;

/// State of the database and its WAL by `stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileFingerprint {
    file_id: FileId,
    /// Length and modification time of each file that exists.
    writes: [Option<(u64, SystemTime)>; 2],
}

impl FileFingerprint {
    fn of(path: &Path) -> Self {
        let file = std::fs::metadata(path).ok();
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let written = |meta: &Metadata| Some((meta.len(), meta.modified().ok()?));
        Self {
            file_id: file.as_ref().map(|meta| (meta.dev(), meta.ino())),
            writes: [
                file.as_ref().and_then(written),
                std::fs::metadata(log).ok().as_ref().and_then(written),
            ],
        }
    }

    /// Whether the next write will change the fingerprint: not if the last one is so recent that it may have the same time.
    fn is_stable(&self) -> bool {
        let now = SystemTime::now();
        self.writes.iter().flatten().all(|(_, time)| {
            now.duration_since(*time)
                .is_ok_and(|age| age > STABLE_AFTER)
        })
    }
}

/// Follows the commits of a database.
struct Follower {
    /// `None` while it cannot be read, and between polls of an immutable file.
    reader: Option<Reader>,
    file_id: FileId,
    position: CommitSeq,
    version: Option<i64>,
    /// Files at the last complete poll; `None` if the next poll must read the database.
    last_fingerprint: Option<FileFingerprint>,
    /// Whether the current error has been reported.
    error_reported: bool,
}

impl Follower {
    fn begin(
        context: &Context,
        filter: &Filter,
        tail: usize,
        sink: &mut Sink<'_>,
    ) -> Result<Self, CliError> {
        let path = context.options.database();
        let file_id = FileFingerprint::of(&path).file_id;
        let reader = context.open()?;
        let version = Some(reader.data_version()?);
        let (rows, position) = reader.tail(filter, tail)?;
        for row in &rows {
            sink.write(row, None)?;
        }
        let mut follower = Self {
            reader: Some(reader),
            file_id,
            position,
            version,
            last_fingerprint: None,
            error_reported: false,
        };
        follower.release();
        Ok(follower)
    }

    /// A file that is open as immutable prevents recorders from starting: keep it open only while reading.
    fn release(&mut self) {
        if self.reader.as_ref().is_some_and(Reader::is_immutable) {
            self.reader = None;
            self.version = None;
        }
    }

    fn poll(
        &mut self,
        context: &Context,
        filter: &Filter,
        sink: &mut Sink<'_>,
    ) -> Result<(), CliError> {
        // Before reading: a write during the read is for the next poll.
        let fingerprint = FileFingerprint::of(&context.options.database());
        if self.last_fingerprint.as_ref() == Some(&fingerprint) {
            return Ok(());
        }
        let is_stable = fingerprint.is_stable();
        self.last_fingerprint = None;
        match self.read_commits(context, filter, &fingerprint, sink) {
            Ok(()) => {
                self.last_fingerprint = is_stable.then_some(fingerprint);
                if std::mem::take(&mut self.error_reported) {
                    print_note("the database can be read again");
                }
                Ok(())
            }
            // May be transient: the recorder restarts, or quarantines a damaged file.
            Err(error @ (CliError::Open(_) | CliError::Read(_))) => {
                self.reader = None;
                self.version = None;
                if !std::mem::replace(&mut self.error_reported, true) {
                    print_note(&format!("{}; waiting", error.message_and_details().0));
                }
                watchdog::pause(|| std::thread::sleep(RETRY_INTERVAL));
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    fn read_commits(
        &mut self,
        context: &Context,
        filter: &Filter,
        fingerprint: &FileFingerprint,
        sink: &mut Sink<'_>,
    ) -> Result<(), CliError> {
        let file_id = fingerprint.file_id;
        if file_id != self.file_id {
            self.reader = None;
            self.version = None;
        }
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => context.open()?,
        };
        if file_id != self.file_id {
            print_note("the database was replaced; following the new file from its start");
            self.file_id = file_id;
            self.position = CommitSeq::START;
        }
        let version = reader.data_version()?;
        if self.version != Some(version) {
            loop {
                let committed = reader.committed_after(self.position, filter)?;
                if committed.missed > 0 {
                    print_note(&format!(
                        "{} skipped: they were committed faster than they could be read",
                        counted(committed.missed, "update")
                    ));
                }
                for row in &committed.rows {
                    sink.write(&row.row, Some(row.updated))?;
                }
                watchdog::restart();
                self.position = committed.next;
                if !committed.has_more {
                    break;
                }
            }
        }
        self.version = Some(version);
        self.reader = Some(reader);
        self.release();
        Ok(())
    }
}

/// Prints a line on stderr; ignores a closed stderr.
fn print_note(text: &str) {
    let _ = writeln!(stderr().lock(), "{}", safe(text));
}

/// The output, one event at a time.
struct Sink<'c> {
    out: Stdout,
    context: &'c Context,
    stream: Option<event_table::StreamTable>,
    rows: Streamed,
}

impl<'c> Sink<'c> {
    fn new(context: &'c Context, rows: Streamed) -> Self {
        Self {
            out: Stdout::lock(),
            context,
            stream: None,
            rows,
        }
    }

    /// Writes one event; `updated` is `None` for events from before the start.
    fn write(&mut self, row: &Row, updated: Option<bool>) -> Result<(), CliError> {
        match self.context.format {
            Format::Table | Format::Wide => {
                let context = self.context;
                let stream = match &mut self.stream {
                    Some(stream) => stream,
                    None => {
                        let stream = event_table::StreamTable::new(
                            context.format,
                            context.terminal,
                            context.options.tz.clone(),
                            self.rows,
                        );
                        stream.write_headings(&mut self.out)?;
                        self.stream.insert(stream)
                    }
                };
                stream.write(&mut self.out, row, updated, Timestamp::now())?;
            }
            _ => {
                let change = Some(match updated {
                    None => "existing",
                    Some(false) => "new",
                    Some(true) => "updated",
                });
                let event = Event {
                    row,
                    fields: &Field::COLUMNS,
                    encoding: MetadataEncoding::Json,
                    change,
                };
                writeln!(
                    self.out,
                    "{}",
                    output::to_line(&event).map_err(std::io::Error::from)?
                )?;
            }
        }
        Ok(())
    }
}
