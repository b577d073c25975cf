//! Runs a program on a pseudo-terminal.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A running program and the other end of its terminal.
#[derive(Debug)]
pub struct Terminal {
    /// The program. It leads its session, and the terminal is its session's.
    pub child: Child,
    screen: File,
}

impl Terminal {
    /// Starts a program on a terminal with `columns` columns.
    pub fn start(
        program: &Path,
        words: &[&str],
        environment: &[(&str, &str)],
        columns: u16,
    ) -> io::Result<Self> {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&controller)?;
        unlockpt(&controller)?;
        let name = ptsname(&controller, Vec::new())?;
        let user: OwnedFd = rustix::fs::open(
            name.as_c_str(),
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let size = Winsize {
            ws_row: 50,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&user, size)?;
        // Makes the terminal the controlling terminal of the session, then executes the program.
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(program)
            .args(words)
            .env_remove("NO_COLOR")
            .env("TERM", "xterm-256color")
            .envs(environment.iter().copied())
            .stdin(Stdio::from(user.try_clone()?))
            .stdout(Stdio::from(user.try_clone()?))
            .stderr(Stdio::from(user))
            .spawn()?;
        Ok(Self {
            child,
            screen: File::from(controller),
        })
    }

    /// The next bytes of output; empty once the program has exited.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 4096];
        match self.screen.read(&mut bytes) {
            Ok(count) => {
                bytes.truncate(count);
                Ok(bytes)
            }
            // The terminal's last user has closed it.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                Ok(Vec::new())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => self.read(),
            Err(error) => Err(error),
        }
    }

    /// All output until it exits.
    ///
    /// Fails as [`Terminal::read`], or if the output is not UTF-8.
    pub fn read_to_end(&mut self) -> io::Result<String> {
        let mut all = Vec::new();
        loop {
            let bytes = self.read()?;
            if bytes.is_empty() {
                break;
            }
            all.extend(bytes);
        }
        let text = String::from_utf8(all).map_err(io::Error::other)?;
        Ok(text.replace("\r\n", "\n"))
    }

    /// Reads until the output contains `words`; returns everything read.
    pub fn read_until(&mut self, words: &str) -> io::Result<String> {
        let mut all = Vec::new();
        loop {
            let bytes = self.read()?;
            all.extend(&bytes);
            let text = String::from_utf8_lossy(&all);
            if text.contains(words) {
                return Ok(text.into_owned());
            }
            if bytes.is_empty() {
                return Err(io::Error::other(format!("no {words:?} in {text:?}")));
            }
        }
    }

    /// Closes the terminal; the program should exit.
    pub fn close(self) -> Child {
        self.child
    }
}
