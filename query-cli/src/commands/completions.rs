//! `completions`: scripts that were made from the command line's definition; a test keeps them up to date.

use std::io::Write;

use crate::args::Shell;
use crate::failure::Failure;
use crate::output::Out;

pub(super) fn run(shell: Shell) -> Result<(), Failure> {
    let script = match shell {
        Shell::Bash => include_str!("../../generated/kube9-query.bash"),
        Shell::Zsh => include_str!("../../generated/_kube9-query"),
        Shell::Fish => include_str!("../../generated/kube9-query.fish"),
    };
    let mut out = Out::stdout();
    out.write_all(script.as_bytes())?;
    out.finish()
}
