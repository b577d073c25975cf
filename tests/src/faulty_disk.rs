//! A disk whose system calls fail on command, for a recorder process.
//!
//! A small library in C (`faulty_disk.c`, built here with the machine's compiler) is preloaded into the process and
//! reads a page of shared memory before each call on `kube9.db`, `-wal` and `-shm`. It has no effect on a static
//! binary.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// `errno` of a failing device.
pub const EIO: u8 = 5;
/// `errno` of a full disk.
pub const ENOSPC: u8 = 28;
/// `errno` of a file system that became read-only, as Linux remounts one after errors.
pub const EROFS: u8 = 30;

/// The database file, in [`DiskFault::files`].
pub const DATABASE: u8 = 1;
/// Its write-ahead log.
pub const LOG: u8 = 2;
/// The WAL index. It is memory-mapped: only its growth is intercepted.
pub const INDEX: u8 = 4;

/// Which calls fail, with which `errno`; 0 lets them through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFault {
    pub files: u8,
    /// `write` and its like.
    pub write: u8,
    /// `read` and its like.
    pub read: u8,
    /// `fsync`, `fdatasync`.
    pub sync: u8,
    /// `ftruncate`.
    pub truncate: u8,
    /// `open`.
    pub open: u8,
    /// A write writes half of its bytes before the next one fails.
    pub half: bool,
}

impl DiskFault {
    /// Nothing fails, on any file.
    pub const NOTHING: Self = Self {
        files: DATABASE | LOG | INDEX,
        write: 0,
        read: 0,
        sync: 0,
        truncate: 0,
        open: 0,
        half: false,
    };

    /// Writes fail with `errno`.
    pub const fn write(errno: u8) -> Self {
        Self {
            write: errno,
            ..Self::NOTHING
        }
    }

    const fn bytes(self) -> [u8; 8] {
        [
            self.files,
            self.write,
            self.read,
            self.sync,
            self.truncate,
            self.open,
            self.half as u8,
            0,
        ]
    }
}

/// The library and its control page.
#[derive(Debug)]
pub struct FaultyDisk {
    library: PathBuf,
    control: PathBuf,
    page: File,
}

impl FaultyDisk {
    /// Builds the library in `folder`. `None`: this machine has no C compiler.
    pub fn build(folder: &Path) -> anyhow::Result<Option<Self>> {
        let source = folder.join("faulty_disk.c");
        let library = folder.join("faulty_disk.so");
        fs::write(&source, include_str!("faulty_disk.c"))?;
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output();
        let Ok(output) = built else {
            return Ok(None);
        };
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cc: {said}");
        let control = folder.join("faulty_disk.control");
        fs::write(&control, [0; 4096])?;
        let page = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&control)
            .context("the control page")?;
        Ok(Some(Self {
            library,
            control,
            page,
        }))
    }

    /// Environment variables for the process.
    pub fn environment(&self) -> Vec<(String, PathBuf)> {
        vec![
            ("LD_PRELOAD".to_owned(), self.library.clone()),
            ("KUBE9_FAULTY_DISK".to_owned(), self.control.clone()),
        ]
    }

    /// Sets the failing calls; [`DiskFault::NOTHING`] clears them.
    pub fn set(&self, wrong: DiskFault) -> std::io::Result<()> {
        self.page.write_all_at(&wrong.bytes(), 0)
    }

    /// Failed calls so far.
    pub fn hits(&self) -> std::io::Result<u32> {
        let mut bytes = [0; 4];
        self.page.read_exact_at(&mut bytes, 8)?;
        Ok(u32::from_ne_bytes(bytes))
    }
}
