//! Keeps the generated pages of `docs/` in step with the code.

use std::path::Path;

/// Fails unless `docs/NAME` is exactly `page`; with `KUBE9_UPDATE` set, writes it instead.
pub(crate) fn assert_page(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    if std::env::var_os("KUBE9_UPDATE").is_some() {
        std::fs::write(&path, page).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/{name} is out of date: run the test again with KUBE9_UPDATE=1"
    );
}
