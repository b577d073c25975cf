//! Arguments of a command that is not on the command line are not defined: most of a short command's time would be spent on
//! them.

use std::ops::Deref;

use clap::{ArgMatches, Args, Command, FromArgMatches};

/// Arguments that are defined when their command is parsed, or its help printed.
#[derive(Debug, Clone)]
pub(crate) struct Deferred<T>(T);

impl<T> Deref for Deferred<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: FromArgMatches> FromArgMatches for Deferred<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<T: Args> Args for Deferred<T> {
    fn augment_args(command: Command) -> Command {
        command.defer(define::<T>)
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.defer(define::<T>)
    }
}

/// Groups of arguments have comments too, which must not become the help of the command.
fn define<T: Args>(command: Command) -> Command {
    let (short, long) = (
        command.get_about().cloned(),
        command.get_long_about().cloned(),
    );
    let mut command = T::augment_args(command).long_about(None::<&str>);
    if let Some(short) = short {
        command = command.about(short);
    }
    if let Some(long) = long {
        command = command.long_about(long);
    }
    command
}
