//! The memory limit of this process, from its control group.

use std::fs;
use std::path::{Path, PathBuf};

/// A version 1 group without a limit has a value near 2^63.
const UNLIMITED: u64 = 1 << 60;

/// The memory limit of the container; `None` if there is none, or it cannot be read.
pub fn limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_under(Path::new("/sys/fs/cgroup"), &groups)
}

/// The smallest limit of the process's control groups, version 1 or 2. In a container the path may be that of the node,
/// whose groups are not mounted: then the container's own group is at the root.
fn limit_under(root: &Path, groups: &str) -> Option<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (root, file) = if controllers.is_empty() {
            (root.to_owned(), "memory.max")
        } else if controllers.split(',').any(|one| one == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        let inner = Path::new(path.trim_start_matches('/'));
        limits.extend(inner.ancestors().filter_map(|group| {
            let file: PathBuf = root.join(group).join(file);
            fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
        }));
    }
    limits.into_iter().filter(|limit| *limit < UNLIMITED).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_the_smallest_of_all_groups_of_both_versions() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        put("pod/memory.max", "268435456\n");
        put("pod/container/memory.max", "max\n");
        put("memory/memory.limit_in_bytes", "9223372036854771712\n");
        put("memory/a/memory.limit_in_bytes", "134217728\n");
        for (groups, expected) in [
            ("0::/pod/container\n", Some(256 << 20)),
            ("0::/\n", None),
            ("4:memory:/a\n0::/\n", Some(128 << 20)),
            ("5:cpu,memory:/a/b\n", Some(128 << 20)),
            ("4:memory:/elsewhere\n", None),
            ("nonsense\n", None),
        ] {
            assert_eq!(limit_under(root.path(), groups), expected, "{groups}");
        }
        // The container's own group at the root, with the path as the node has it.
        put("memory/memory.limit_in_bytes", "67108864\n");
        let groups = "4:memory:/kubepods/pod1/c\n";
        assert_eq!(limit_under(root.path(), groups), Some(64 << 20));
    }
}
