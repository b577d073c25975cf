//! Any bytes as a line of a watch, from the wire to a committed row. `tests/ingest_fuzz.rs` asks the same of chosen lines.
#![no_main]

use std::cell::RefCell;

use kube9_tests::ingest_path::IngestPath;
use libfuzzer_sys::fuzz_target;

/// Lines into one database: few enough that it stays small, many enough that making it costs nothing.
const LINES: usize = 10_000;

thread_local! {
    static PATH: RefCell<Option<(IngestPath, std::path::PathBuf, usize)>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    PATH.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(_, _, fed)| *fed >= LINES) {
            let folder = std::env::temp_dir().join(format!("kube9-fuzz-{}", std::process::id()));
            drop(slot.take());
            drop(std::fs::remove_dir_all(&folder));
            std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
            let path = IngestPath::new(&folder).expect("a new database can be made");
            *slot = Some((path, folder, 0));
        }
        if let Some((path, _, fed)) = slot {
            *fed += 1;
            // As it is, and as the object of a proper line.
            path.feed(bytes).expect("any line is survived");
            let mut line = br#"{"type":"MODIFIED","object":"#.to_vec();
            line.extend_from_slice(bytes);
            line.push(b'}');
            path.feed(&line).expect("any object is survived");
        }
    });
});
