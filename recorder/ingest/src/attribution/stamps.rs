//! What is kept of an object's `managedFields` until its next event: 10 bytes an entry.
//!
//! ```text
//!   4 bytes  the entry's time, in seconds
//!   6 bytes  hash of manager, operation, apiVersion and subresource
//! ```
//!
//! A stamp of zeros says that the time of the event is unknown.
//!
//! Nothing of `fieldsV1`: other fields alone prove nothing, and a hash of them could be compared with guesses, because they
//! hold the values of sets.

use std::fmt;

use kube9_model::hash::stable_hash;
use kube9_model::time::Timestamp;

use super::ManagedEntry;

/// What is kept of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) seconds: u32,
    pub(super) entry: [u8; 6],
}

/// Bytes of a stamp.
const STAMP_BYTES: usize = 10;

/// Entries of which stamps are kept. The API server keeps ten of managers that update; those that apply are not limited,
/// but real objects have fewer than twenty.
const STAMPS_MAX: usize = 64;

/// In the stamps of an event whose time is unknown.
const UNKNOWN_TIME: Stamp = Stamp {
    seconds: 0,
    entry: [0; 6],
};

/// What is kept of the entries of an object's last event.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Stamps(pub(super) Vec<Stamp>);

impl Stamps {
    /// Of the entries of an event; `None` where they are too many or ambiguous, so that nothing could be proven by them.
    pub fn of(entries: &[ManagedEntry<'_>]) -> Option<Self> {
        if entries.len() > STAMPS_MAX {
            return None;
        }
        let stamps: Vec<Stamp> = entries.iter().map(Stamp::of).collect();
        let is_repeated = |n: usize| stamps[..n].iter().any(|one| one.entry == stamps[n].entry);
        (!(1..stamps.len()).any(is_repeated)).then_some(Self(stamps))
    }

    /// The same of an event that may have happened long before its receipt, after an event with the stamps `before`. If no
    /// entry moved, nothing says when it happened.
    pub fn of_late_event(mut self, before: Option<&Self>) -> Self {
        let is_same = |before: &Self| {
            let stamps = before.0.iter().filter(|stamp| **stamp != UNKNOWN_TIME);
            stamps.eq(&self.0)
        };
        if before.is_none_or(is_same) {
            self.0.push(UNKNOWN_TIME);
        }
        self
    }

    /// Whether the time of the event is known.
    pub(super) fn is_time_known(&self) -> bool {
        !self.0.contains(&UNKNOWN_TIME)
    }

    /// What is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * STAMP_BYTES);
        for stamp in &self.0 {
            bytes.extend(stamp.seconds.to_be_bytes());
            bytes.extend(stamp.entry);
        }
        bytes
    }

    /// Reads what is stored; `None` if it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (stamps, rest) = bytes.as_chunks::<STAMP_BYTES>();
        let stamp = |bytes: &[u8; STAMP_BYTES]| {
            let [a, b, c, d, e, f, g, h, i, j] = *bytes;
            Stamp {
                seconds: u32::from_be_bytes([a, b, c, d]),
                entry: [e, f, g, h, i, j],
            }
        };
        rest.is_empty()
            .then(|| Self(stamps.iter().map(stamp).collect()))
    }

    /// Heap memory, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.0.len() * STAMP_BYTES
    }

    /// The latest time of an entry; 0 if none has one.
    pub(super) fn latest(&self) -> u32 {
        let seconds = self.0.iter().map(|stamp| stamp.seconds);
        seconds.max().unwrap_or_default()
    }

    pub(super) fn get(&self, entry: [u8; 6]) -> Option<&Stamp> {
        self.0.iter().find(|stamp| stamp.entry == entry)
    }
}

impl fmt::Debug for Stamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stamps({})", self.0.len())
    }
}

impl Stamp {
    fn of(entry: &ManagedEntry<'_>) -> Self {
        let parts = [
            &*entry.manager,
            &entry.operation,
            &entry.api_version,
            &entry.subresource,
        ];
        // 0 stands for an entry without a time.
        let seconds = |at: Timestamp| at.second().clamp(1, u32::MAX.into());
        let seconds = entry.at().map_or(0, seconds);
        Self {
            seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
            entry: first_bytes(stable_hash(parts.join("\0").as_bytes())),
        }
    }
}

const fn first_bytes(hash: u64) -> [u8; 6] {
    let [a, b, c, d, e, f, _, _] = hash.to_be_bytes();
    [a, b, c, d, e, f]
}
