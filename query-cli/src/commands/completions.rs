//! `completions`: prints scripts that are generated from the command line definition; a test keeps them up to date.

use std::io::Write;

use crate::args::Shell;
use crate::error::CliError;
use crate::output::Stdout;

pub(super) fn run(shell: Shell) -> Result<(), CliError> {
    let script = match shell {
        Shell::Bash => include_str!("../../generated/kube9-query.bash"),
        Shell::Zsh => include_str!("../../generated/_kube9-query"),
        Shell::Fish => include_str!("../../generated/kube9-query.fish"),
    };
    let mut out = Stdout::lock();
    out.write_all(script.as_bytes())?;
    out.finish()
}
