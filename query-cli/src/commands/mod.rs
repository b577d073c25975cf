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

use kube9_shared::read::Reader;

use crate::args::{Command, EventsCommand, Format, Options, Request};
use crate::failure::Failure;
use crate::screen::Screen;

/// What a command works with.
pub(crate) struct Context {
    pub(crate) options: Options,
    pub(crate) format: Format,
    pub(crate) screen: Screen,
}

impl Context {
    fn open(&self) -> Result<Reader, Failure> {
        Ok(Reader::open(
            &self.options.database(),
            self.options.timeout,
        )?)
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
