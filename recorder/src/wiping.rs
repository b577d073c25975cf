//! Memory that is no longer used is wiped: the heap by the allocator when it is freed, the stack by the runtime when it
//! has nothing to do.
//!
//! Values of ConfigMaps and of environment variables are dropped while they are decoded, but the buffers through which
//! they came belong to the HTTP client, to TLS and to the decoder, which free them as they are. Without this, 162 of 200
//! planted values were found in the memory of a recorder that had long forgotten them. And the decoder reads eight bytes
//! at a time, of which the last stayed on the stack of a program that was not optimized.
//!
//! SQLite is C and has an allocator of its own; no such value ever reaches it.

use std::alloc::System;
use std::hint::black_box;
use std::io;

use tokio::runtime::{Builder, Runtime};
use zeroizing_alloc::ZeroAlloc;

/// The system's allocator, which gets memory back wiped.
///
/// A block that grows is a new one: the old one is wiped like any other.
pub type Wiping = ZeroAlloc<System>;

/// For `#[global_allocator]`, which belongs to a program and not to a library.
#[must_use]
pub const fn wiping() -> Wiping {
    ZeroAlloc(System)
}

/// How deep below the runtime's own frames its tasks get, with room: 25 KiB were seen, and 170 where nothing is optimized.
const STACK_BYTES: usize = if cfg!(debug_assertions) {
    256 << 10
} else {
    64 << 10
};

/// The runtime for [`crate::run`]. One thread: the writer has its own, and a second one for the rest would only cost
/// memory. Before it sleeps, it wipes the stack that its tasks have used.
///
/// # Errors
/// If the system refuses what it needs (file descriptors).
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .on_thread_park(wipe_stack)
        .build()
}

/// Wipes what lies below the caller's frame.
#[inline(never)]
fn wipe_stack() {
    // Used, as far as the compiler knows: so the zeros are really written.
    black_box(&mut [0_u8; STACK_BYTES]);
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::time::Duration;

    use super::*;

    const LEFT: u8 = 0xa5;

    /// Leaves much on the stack; says where it begins.
    #[inline(never)]
    fn leave() -> u64 {
        let mut left = [LEFT; 32 << 10];
        std::ptr::from_mut(black_box(&mut left)).addr() as u64
    }

    #[test]
    fn what_a_task_left_on_the_stack_is_wiped_before_the_runtime_sleeps() {
        let memory = File::open("/proc/self/mem").unwrap();
        let at = |place| {
            let mut found = vec![0; 16 << 10];
            memory.read_exact_at(&mut found, place).unwrap();
            found.iter().filter(|byte| **byte == LEFT).count()
        };
        let task = async || {
            let place = leave();
            let before = at(place);
            tokio::time::sleep(Duration::from_millis(1)).await;
            (before, at(place))
        };
        let (before, after) = runtime().unwrap().block_on(task());
        assert!(before > 8 << 10, "{before}");
        assert!(after < 256, "{after}");
    }
}
