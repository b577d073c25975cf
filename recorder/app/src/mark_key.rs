//! The key of the marks that stand for hidden values: a file beside the database, which no snapshot or export contains.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, ensure};
use kube9_ingest::body::MarkKey;
use tracing::info;

const FILE: &str = "kube9.key";
const PARTIAL: &str = "kube9.key.partial";

/// Reads the key in the data directory, or makes one. Without the old key, hidden values are recorded anew.
///
/// # Errors
/// The file cannot be read or written, or has another size.
pub(crate) fn load_or_create(directory: &Path) -> anyhow::Result<MarkKey> {
    let file = directory.join(FILE);
    match fs::read(&file) {
        Ok(bytes) => {
            let secret: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| {
                anyhow::anyhow!(
                    "{} has {} bytes, not 32; move it away to record hidden values with a new key",
                    file.display(),
                    bytes.len()
                )
            })?;
            return Ok(MarkKey::new(secret));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
    let mut secret = [0; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut secret))
        .context("cannot read /dev/urandom")?;
    ensure!(secret != [0; 32], "/dev/urandom gives zeros");
    let partial = directory.join(PARTIAL);
    let write = || {
        let mut out = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?;
        out.write_all(&secret)?;
        out.sync_all()?;
        fs::rename(&partial, &file)
    };
    write().with_context(|| format!("cannot write {}", file.display()))?;
    info!(path = %file.display(), "key of hidden values created");
    Ok(MarkKey::new(&secret))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn key_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = load_or_create(folder.path()).unwrap();
        assert_eq!(load_or_create(folder.path()).unwrap().id(), first.id());
        let file = folder.path().join(FILE);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(&file).unwrap();
        assert_ne!(load_or_create(folder.path()).unwrap().id(), first.id());
        fs::write(&file, "short").unwrap();
        let error = load_or_create(folder.path()).unwrap_err().to_string();
        assert!(error.contains("5 bytes"), "{error}");
    }
}
