//! Golden files: `tests/golden/NAME`, written by `KUBE9_UPDATE=1`.

use std::fs;
use std::path::Path;

/// Compares text with a golden file; writes the file if `KUBE9_UPDATE` is set.
#[track_caller]
pub fn assert_golden(name: &str, actual: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("KUBE9_UPDATE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, actual).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        actual == expected,
        "tests/golden/{name} differs; run the test again with KUBE9_UPDATE=1 if the output is right\n\
         --- actual\n{actual}\n--- expected\n{expected}"
    );
}

/// The text without ages such as ` (350d ago)`, which change from day to day.
pub fn without_ages(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once(" ago)") {
        let (before, age) = head.rsplit_once(" (").unwrap_or((head, ""));
        assert!(!age.contains('\n'), "no age before ` ago)`: {head}");
        out.push_str(before);
        rest = tail;
    }
    out + rest
}
