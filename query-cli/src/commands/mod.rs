//! One file for each command: queries the database and writes the result.

mod changes;
mod completions;
mod event_table;
mod export;
mod findings;
mod get;
mod impact;
mod list;
mod object;
mod pause;
mod stats;
mod status;
mod story;
mod timeline;
mod watch;

use std::time::Duration;

use kube9_db::read::{Reader, limit_heap};
use kube9_model::time::Timestamp;

use crate::args::{Command, EventsCommand, Format, ObjectCommand, Options, Request};
use crate::error::CliError;
use crate::terminal::Terminal;
use crate::time_arg::Now;
use crate::watchdog;

/// Memory limit of SQLite: its page cache of 1 MiB, and what a statement sorts. With a page of 4 MiB of rows and their
/// formatted text, a command stays below 32 MiB whatever the file holds.
const HEAP_BYTES_MAX: u32 = 16 << 20;
/// Opening waits up to twice 2 s for a recorder that is starting or stopping.
const OPEN_WAIT_MAX: Duration = Duration::from_secs(4);

/// Options and output of a command.
pub(crate) struct Context {
    pub(crate) options: Options,
    pub(crate) format: Format,
    pub(crate) terminal: Terminal,
}

impl Context {
    /// The time, and the zone of the command's times.
    fn now(&self) -> Now {
        Now {
            time: Timestamp::now(),
            zone: self.options.tz.clone(),
        }
    }

    /// Opens the database and starts the time limit.
    fn open(&self) -> Result<Reader, CliError> {
        let timeout = self.options.timeout;
        let json = self.options.format == Some(Format::Json);
        watchdog::start(timeout, OPEN_WAIT_MAX, json);
        limit_heap(HEAP_BYTES_MAX)?;
        let reader = Reader::open(&self.options.database(), timeout)?;
        watchdog::restart();
        Ok(reader)
    }
}

/// Runs a command.
pub(crate) fn run(request: Request) -> Result<(), CliError> {
    let terminal = Terminal::of_stdout();
    let requested = request.options.format;
    let default = if terminal.is_terminal {
        Format::Table
    } else {
        Format::Json
    };
    let format = match (&request.command, requested) {
        (_, Some(requested)) => requested,
        // Exports are for programs, also on a terminal.
        (Command::Events(EventsCommand::Export(_)), None) => Format::Jsonl,
        // A manifest is YAML, also for programs.
        (Command::Object(ObjectCommand::Get(_)), None) => Format::Yaml,
        (_, None) => default,
    };
    let context = Context {
        options: request.options,
        format,
        terminal,
    };
    let result = match &request.command {
        Command::Status => status::run(&context),
        Command::Changes(args) => changes::run(&context, args),
        Command::Object(command) => object::run(&context, command),
        Command::Findings(args) => findings::run(&context, args),
        Command::Story(args) => story::run(&context, args),
        Command::Impact(args) => impact::run(&context, args),
        Command::Events(EventsCommand::List(args)) => list::run(&context, args),
        Command::Events(EventsCommand::Get(args)) => get::run(&context, &args.id),
        Command::Events(EventsCommand::Watch(args)) => watch::run(&context, args),
        Command::Events(EventsCommand::Stats(args)) => stats::run(&context, args),
        Command::Events(EventsCommand::Timeline(args)) => timeline::run(&context, args),
        Command::Events(EventsCommand::Export(args)) => export::run(&context, args),
        Command::Completions { shell } => completions::run(*shell),
        Command::Pause => pause::run(),
    };
    result.map_err(|error| error.with_json(requested == Some(Format::Json)))
}
