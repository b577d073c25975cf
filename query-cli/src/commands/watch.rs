//! `events watch`: new and updated events as they are committed.
//!
//! ```text
//!   open ── tail ── did a file change? ── did another process commit? ── changes ── write, flush ─┐
//!     ▲               ▲─────────────────────────── sleep on stdout ───────────────────────────────┘
//!     └── the file was replaced, or cannot be read for now (the recorder restarts)
//! ```
//!
//! While nothing happens, a look is two `stat` calls: a commit writes the log or the file, and that changes their times.
//! It ends when nobody reads stdout any more, which a pipe tells even while there is nothing to write. Inside a container
//! that is not enough: the runtime goes on reading what a process started by `kubectl exec` writes, and keeps its terminal
//! open, when the client has gone. With `-i` it closes stdin, and that ends it too; and such a process has a longest life.

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

use super::{Context, rows};
use crate::args::{Field, Format, WatchArgs};
use crate::failure::Failure;
use crate::output::{self, Event, Form, Out};
use crate::text::{counted, safe};
use crate::watchdog;

/// Between two looks at the database. A row is shown within a second of its commit.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 400_000_000,
};
/// File systems count time in ticks of up to 10 ms: a file that was written so short a time ago may be written again
/// without that its time shows it.
const SETTLED_AFTER: Duration = Duration::from_millis(100);
/// The longest life of a process that `kubectl exec` started: what a client leaves behind without a trace must not stay
/// for as long as the pod lives.
const EXEC_LIFE: Duration = Duration::from_secs(3600);
/// Between two attempts to read a database that cannot be read for now.
const RETRY_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(context: &Context, args: &WatchArgs) -> Result<(), Failure> {
    let filter = args.filter.resolve(Timestamp::now())?;
    let client = Client::begin();
    let mut sink = Sink::new(context);
    let mut follower = Follower::begin(context, &filter, args.tail, &mut sink)?;
    loop {
        sink.out.flush()?;
        if !watchdog::rest(|| client.wait(LOOK_EVERY))? {
            return Ok(());
        }
        watchdog::next();
        follower.look(context, &filter, &mut sink)?;
    }
}

/// Whoever reads.
struct Client {
    /// Whether the end of stdin is theirs.
    has_stdin: bool,
}

impl Client {
    fn begin() -> Self {
        // A process that comes into a container from outside has no parent there; its first process has none either.
        let is_exec = getppid().is_none() && !getpid().is_init();
        if is_exec {
            // A thread of its own: the other may be held by a write that nobody takes.
            std::thread::spawn(|| {
                std::thread::sleep(EXEC_LIFE);
                note("ended after an hour: nobody can tell whether you still read; run it again");
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

    /// Sleeps; false if they have gone.
    fn wait(&self, time: Timespec) -> Result<bool, Failure> {
        let (out, input) = (stdout(), stdin());
        let mut fds = [
            PollFd::new(&out, PollFlags::empty()),
            PollFd::new(&input, PollFlags::empty()),
        ];
        let fds = &mut fds[..if self.has_stdin { 2 } else { 1 }];
        match poll(fds, Some(&time)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(true),
            Err(error) => return Err(Failure::Write(error.into())),
        }
        let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        Ok(!fds.iter().any(|fd| fd.revents().intersects(gone)))
    }
}

/// Which file a path names; another one after a replacement.
type Identity = Option<(u64, u64)>;

/// What `stat` says of the database and its write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trace {
    identity: Identity,
    /// Length and time of the last write, of each file that is there.
    writes: [Option<(u64, SystemTime)>; 2],
}

impl Trace {
    fn of(path: &Path) -> Self {
        let file = std::fs::metadata(path).ok();
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let written = |meta: &Metadata| Some((meta.len(), meta.modified().ok()?));
        Self {
            identity: file.as_ref().map(|meta| (meta.dev(), meta.ino())),
            writes: [
                file.as_ref().and_then(written),
                std::fs::metadata(log).ok().as_ref().and_then(written),
            ],
        }
    }

    /// Whether the next write will show: not if the last one is so young that it may bear the same time.
    fn is_settled(&self) -> bool {
        let now = SystemTime::now();
        self.writes.iter().flatten().all(|(_, time)| {
            now.duration_since(*time)
                .is_ok_and(|age| age > SETTLED_AFTER)
        })
    }
}

/// A place in a database that grows.
struct Follower {
    /// None while it cannot be read, and between two looks at a file that nobody writes.
    reader: Option<Reader>,
    identity: Identity,
    position: CommitSeq,
    version: Option<i64>,
    /// The files as they were at the last look that told everything; `None` where the next one must look again.
    seen: Option<Trace>,
    /// Whether the trouble that is there now has been told.
    told: bool,
}

impl Follower {
    fn begin(
        context: &Context,
        filter: &Filter,
        tail: usize,
        sink: &mut Sink<'_>,
    ) -> Result<Self, Failure> {
        let path = context.options.database();
        let identity = Trace::of(&path).identity;
        let reader = context.open()?;
        let version = Some(reader.data_version()?);
        let (rows, position) = reader.tail(filter, tail)?;
        for row in &rows {
            sink.write(row, None)?;
        }
        let mut follower = Self {
            reader: Some(reader),
            identity,
            position,
            version,
            seen: None,
            told: false,
        };
        follower.let_go();
        Ok(follower)
    }

    /// A file that is read as unchanging keeps recorders from starting: hold it only while looking.
    fn let_go(&mut self) {
        if self.reader.as_ref().is_some_and(Reader::is_immutable) {
            self.reader = None;
            self.version = None;
        }
    }

    fn look(
        &mut self,
        context: &Context,
        filter: &Filter,
        sink: &mut Sink<'_>,
    ) -> Result<(), Failure> {
        // Before reading: what is written while we read is for the next look.
        let trace = Trace::of(&context.options.database());
        if self.seen.as_ref() == Some(&trace) {
            return Ok(());
        }
        let is_settled = trace.is_settled();
        self.seen = None;
        match self.try_look(context, filter, &trace, sink) {
            Ok(()) => {
                self.seen = is_settled.then_some(trace);
                if std::mem::take(&mut self.told) {
                    note("the database can be read again");
                }
                Ok(())
            }
            // The recorder may be restarting or moving a damaged file aside: whatever it is, it may pass.
            Err(failure @ (Failure::Open(_) | Failure::Read(_))) => {
                self.reader = None;
                self.version = None;
                if !std::mem::replace(&mut self.told, true) {
                    note(&format!("{}; waiting", failure.words().0));
                }
                watchdog::rest(|| std::thread::sleep(RETRY_EVERY));
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    fn try_look(
        &mut self,
        context: &Context,
        filter: &Filter,
        trace: &Trace,
        sink: &mut Sink<'_>,
    ) -> Result<(), Failure> {
        let now = trace.identity;
        if now != self.identity {
            self.reader = None;
            self.version = None;
        }
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => context.open()?,
        };
        if now != self.identity {
            note("the database was replaced; following the new one from its beginning");
            self.identity = now;
            self.position = CommitSeq::START;
        }
        let version = reader.data_version()?;
        if self.version != Some(version) {
            loop {
                let found = reader.committed_after(self.position, filter)?;
                if found.missed > 0 {
                    note(&format!(
                        "{} not shown: more came than could be read",
                        counted(found.missed, "change")
                    ));
                }
                for change in &found.rows {
                    sink.write(&change.row, Some(change.updated))?;
                }
                watchdog::next();
                self.position = found.next;
                if !found.has_more {
                    break;
                }
            }
        }
        self.version = Some(version);
        self.reader = Some(reader);
        self.let_go();
        Ok(())
    }
}

/// Nobody reads it if stderr is closed.
fn note(text: &str) {
    let _ = writeln!(stderr().lock(), "{}", safe(text));
}

/// Where the events go, one at a time.
struct Sink<'c> {
    out: Out,
    context: &'c Context,
    stream: Option<rows::Stream>,
}

impl<'c> Sink<'c> {
    fn new(context: &'c Context) -> Self {
        Self {
            out: Out::stdout(),
            context,
            stream: None,
        }
    }

    /// Writes one event; `updated` is unknown for those that were there at the beginning.
    fn write(&mut self, row: &Row, updated: Option<bool>) -> Result<(), Failure> {
        match self.context.format {
            Format::Table | Format::Wide => {
                let context = self.context;
                let stream = match &mut self.stream {
                    Some(stream) => stream,
                    None => {
                        let stream = rows::Stream::new(context.format, context.screen);
                        stream.write_headings(&mut self.out)?;
                        self.stream.insert(stream)
                    }
                };
                stream.write(&mut self.out, row, updated, Timestamp::now())?;
            }
            _ => {
                let change = Some(match updated {
                    None => "present",
                    Some(false) => "new",
                    Some(true) => "updated",
                });
                let event = Event {
                    row,
                    fields: &Field::CONTRACT,
                    form: Form::Json,
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
