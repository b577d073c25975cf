//! `events watch`: new and updated events as they are committed.
//!
//! ```text
//!   open ── tail ── poll: has another process committed? ── changes ── write, flush ─┐
//!     ▲               ▲───────────────────── sleep on stdout ────────────────────────┘
//!     └── the file was replaced, or cannot be read for now (the recorder restarts)
//! ```
//!
//! It ends when nobody reads stdout any more, which a pipe tells even while there is nothing to write.

use std::io::{Write, stderr, stdout};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use kube9_shared::read::{Filter, Position, Reader, Row};
use kube9_shared::time::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Context, rows};
use crate::args::{Field, Format, WatchArgs};
use crate::failure::Failure;
use crate::output::{self, Event, Form, Out};
use crate::text::safe;

/// Between two looks at the database. A row is shown within a second of its commit.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 250_000_000,
};
/// Between two attempts to read a database that cannot be read for now.
const RETRY_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(context: &Context, args: &WatchArgs) -> Result<(), Failure> {
    let filter = args.filter.resolve(Timestamp::now())?;
    let mut sink = Sink::new(context);
    let mut follower = Follower::begin(context, &filter, args.tail, &mut sink)?;
    loop {
        sink.out.flush()?;
        if !wait(LOOK_EVERY)? {
            return Ok(());
        }
        follower.look(context, &filter, &mut sink)?;
    }
}

/// Sleeps; false if nobody reads stdout any more.
fn wait(time: Timespec) -> Result<bool, Failure> {
    let out = stdout();
    let mut fds = [PollFd::new(&out, PollFlags::empty())];
    match poll(&mut fds, Some(&time)) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(true),
        Err(error) => return Err(Failure::Write(error.into())),
    }
    Ok(!fds[0]
        .revents()
        .intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL))
}

/// Which file a path names; another one after a replacement.
type Identity = Option<(u64, u64)>;

fn identity(path: &Path) -> Identity {
    std::fs::metadata(path)
        .ok()
        .map(|meta| (meta.dev(), meta.ino()))
}

/// A place in a database that grows.
struct Follower {
    /// None while it cannot be read, and between two looks at a file that nobody writes.
    reader: Option<Reader>,
    identity: Identity,
    position: Position,
    version: Option<i64>,
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
        let reader = context.open()?;
        let identity = identity(reader.path());
        let version = Some(reader.version()?);
        let (rows, position) = reader.tail(filter, tail)?;
        for row in &rows {
            sink.write(row, None)?;
        }
        let mut follower = Self {
            reader: Some(reader),
            identity,
            position,
            version,
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
        match self.try_look(context, filter, sink) {
            Ok(()) => {
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
                std::thread::sleep(RETRY_EVERY);
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    fn try_look(
        &mut self,
        context: &Context,
        filter: &Filter,
        sink: &mut Sink<'_>,
    ) -> Result<(), Failure> {
        let path = context.options.database();
        let now = identity(&path);
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
            self.position = Position::START;
        }
        let version = reader.version()?;
        if self.version != Some(version) {
            loop {
                let found = reader.changes(self.position, filter)?;
                if found.missed > 0 {
                    note(&format!(
                        "{} changes came faster than they could be read and are not shown",
                        found.missed
                    ));
                }
                for change in &found.changes {
                    sink.write(&change.row, Some(change.updated))?;
                }
                self.position = found.position;
                if !found.more {
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
