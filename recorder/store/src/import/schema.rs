//! Measures the schema of a SQLite file without SQLite, which would load all of it into memory.
//!
//! The table `sqlite_schema` begins on page 1 (<https://www.sqlite.org/fileformat2.html>, sections 1.3 and 1.6): a leaf, or
//! an interior page above leaves. One that is deeper is larger than any that is wanted.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: &[u8] = b"SQLite format 3\0";
/// Bytes of the file's header, before the header of page 1.
const HEADER: usize = 100;
const INTERIOR: u8 = 5;
const LEAF: u8 = 13;
/// Leaves that are read.
const LEAVES_MAX: usize = 512;

/// Bytes of all entries of the schema; `u64::MAX` if it is too deep, too wide or corrupted. `None`: not a SQLite database.
pub(super) fn bytes(file: &File) -> io::Result<Option<u64>> {
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0)?;
    if !header.starts_with(MAGIC) {
        return Ok(None);
    }
    let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        bytes if bytes.is_power_of_two() && bytes >= 512 => usize::from(bytes),
        _ => return Ok(None),
    };
    let mut page = vec![0; page_bytes];
    file.read_exact_at(&mut page, 0)?;
    Ok(Some(match page[HEADER] {
        LEAF => of_leaf(&page, HEADER).unwrap_or(u64::MAX),
        INTERIOR => of_leaves(file, &page)?,
        _ => u64::MAX,
    }))
}

fn of_leaves(file: &File, root: &[u8]) -> io::Result<u64> {
    let Some(children) = children(root) else {
        return Ok(u64::MAX);
    };
    let (mut sum, mut page) = (0_u64, vec![0; root.len()]);
    for child in children {
        let Some(at) = u64::from(child).checked_sub(1) else {
            return Ok(u64::MAX);
        };
        file.read_exact_at(&mut page, at * root.len() as u64)?;
        let bytes = (page[0] == LEAF).then(|| of_leaf(&page, 0)).flatten();
        sum = sum.saturating_add(bytes.unwrap_or(u64::MAX));
    }
    Ok(sum)
}

/// Pages below the interior page 1.
fn children(page: &[u8]) -> Option<Vec<u32>> {
    let cells = usize::from(u16_at(page, HEADER + 3)?);
    if cells >= LEAVES_MAX {
        return None;
    }
    let last = std::iter::once(u32_at(page, HEADER + 8));
    (0..cells)
        .map(|cell| u32_at(page, usize::from(u16_at(page, HEADER + 12 + 2 * cell)?)))
        .chain(last)
        .collect()
}

/// Bytes of the entries of a leaf, including overflow pages.
fn of_leaf(page: &[u8], header: usize) -> Option<u64> {
    let cells = usize::from(u16_at(page, header + 3)?);
    (0..cells).try_fold(0_u64, |sum, cell| {
        let at = usize::from(u16_at(page, header + 8 + 2 * cell)?);
        Some(sum.saturating_add(varint(page.get(at..)?)?))
    })
}

/// Seven bits per byte; the high bit means that another byte follows.
fn varint(bytes: &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for byte in bytes.iter().take(8) {
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn u16_at(page: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(page.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(page: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(page.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::Connection;

    use super::*;

    fn made(path: &Path, page_bytes: u32, tables: usize, name: &str) -> u64 {
        let db = Connection::open_with_flags(path, rusqlite::OpenFlags::default()).unwrap();
        db.execute_batch(&format!("PRAGMA page_size = {page_bytes}; BEGIN"))
            .unwrap();
        for n in 0..tables {
            db.execute_batch(&format!("CREATE TABLE t{n} (\"{name}\")"))
                .unwrap();
        }
        db.execute_batch("COMMIT").unwrap();
        let sql: i64 = db
            .query_row(
                "SELECT sum(octet_length(sql)) FROM sqlite_schema",
                [],
                |row| row.get(0),
            )
            .unwrap();
        sql.unsigned_abs()
    }

    #[test]
    fn schema_bytes_equal_the_entries() {
        let dir = tempfile::tempdir().unwrap();
        for (page_bytes, tables, name) in [
            (512, 1, "a"),
            (4096, 30, "a"),
            (4096, 300, "b"),
            (65_536, 3, "c"),
            (1024, 5, &*"d".repeat(50_000)),
        ] {
            let path = dir.path().join(format!("{page_bytes}-{tables}.db"));
            let sql = made(&path, page_bytes, tables, name);
            let found = bytes(&File::open(path).unwrap()).unwrap().unwrap();
            // Plus type, two names, root page, and the record's header.
            let more = 40 * tables as u64;
            assert!(
                (sql..=sql + more).contains(&found),
                "{page_bytes} {tables}: {found} of {sql}"
            );
        }
    }

    #[test]
    fn schema_bytes_deep_schema_or_other_file_is_rejected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep.db");
        made(&path, 512, 5_000, "a");
        assert_eq!(bytes(&File::open(&path).unwrap()).unwrap(), Some(u64::MAX));
        let text = dir.path().join("text");
        std::fs::write(&text, "x".repeat(5_000)).unwrap();
        assert_eq!(bytes(&File::open(&text).unwrap()).unwrap(), None);
        // Any byte may be wrong.
        let small = dir.path().join("small.db");
        made(&small, 512, 3, "a");
        let good = std::fs::read(&small).unwrap();
        for at in (16..512).step_by(3) {
            for byte in [0, 5, 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                std::fs::write(&small, bad).unwrap();
                drop(bytes(&File::open(&small).unwrap()));
            }
        }
    }
}
