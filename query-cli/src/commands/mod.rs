//! One file a command. Each asks `shared::read` and hands the rows to an output.

mod completions;
mod export;
mod get;
mod list;
mod pause;
mod rows;
mod stats;
mod status;
mod timeline;
mod watch;

use std::time::Duration;

use kube9_db::read::{Reader, limit_heap};

use crate::args::{Command, EventsCommand, Format, Options, Request};
use crate::failure::Failure;
use crate::screen::Screen;
use crate::watchdog;

/// SQLite's memory: its page cache of 1 MiB, and what a statement sorts. With a page of 4 MiB and its text in every form a
/// command stays below 32 MiB with any file.
const HEAP_BYTES_MAX: u32 = 16 << 20;
/// Opening waits up to twice 2 s for a recorder that is starting or stopping.
const OPENING_MAX: Duration = Duration::from_secs(4);

/// What a command works with.
pub(crate) struct Context {
    pub(crate) options: Options,
    pub(crate) format: Format,
    pub(crate) screen: Screen,
}

impl Context {
    /// Opens the database; from here on the time limit counts.
    fn open(&self) -> Result<Reader, Failure> {
        let timeout = self.options.timeout;
        let json = self.options.format == Some(Format::Json);
        watchdog::work(timeout, OPENING_MAX, json);
        limit_heap(HEAP_BYTES_MAX)?;
        let reader = Reader::open(&self.options.database(), timeout)?;
        watchdog::next();
        Ok(reader)
    }
}

/// Does what was asked for.
pub(crate) fn run(request: Request) -> Result<(), Failure> {
    let screen = Screen::of_stdout();
    let asked = request.options.format;
    let usual = if screen.is_terminal {
        Format::Table
    } else {
        Format::Json
    };
    let format = match (&request.command, asked) {
        (_, Some(asked)) => asked,
        // What is exported is for programs, wherever it goes.
        (Command::Events(EventsCommand::Export(_)), None) => Format::Jsonl,
        (_, None) => usual,
    };
    let context = Context {
        options: request.options,
        format,
        screen,
    };
    let result = match &request.command {
        Command::Status => status::run(&context),
        Command::Events(EventsCommand::List(args)) => list::run(&context, args),
        Command::Events(EventsCommand::Get(args)) => get::run(&context, &args.id),
        Command::Events(EventsCommand::Watch(args)) => watch::run(&context, args),
        Command::Events(EventsCommand::Stats(args)) => stats::run(&context, args),
        Command::Events(EventsCommand::Timeline(args)) => timeline::run(&context, args),
        Command::Events(EventsCommand::Export(args)) => export::run(&context, args),
        Command::Completions { shell } => completions::run(*shell),
        Command::Pause => pause::run(),
    };
    result.map_err(|failure| failure.in_json(asked == Some(Format::Json)))
}
