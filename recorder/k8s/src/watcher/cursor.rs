//! How far a watch has advanced, and what that proves.
//!
//! ```text
//!   position < target   backlog: the time at which its lines arrive proves nothing
//!   position ≥ target   caught up: a line that was waited for proves that everything before it was received by then
//! ```
//!
//! The target is the API server's newest version before the watch was opened.
//!
//! Invariant: the position never moves back, nor to a version that cannot be compared with it.
//! Invariant: a line proves nothing if it was buffered in the connection while the consumer was busy, or if its version
//! is empty, 0 or lower than the position.

use kube9_model::identity::ResourceVersion;
use kube9_model::time::Timestamp;

/// How far a watch has advanced.
#[derive(Debug)]
pub struct Cursor {
    position: ResourceVersion,
    target: ResourceVersion,
    caught_up: bool,
    /// When the current line was received, if it was waited for.
    received: Option<Timestamp>,
    /// When the position was last confirmed by this watch.
    confirmed_at: Option<Timestamp>,
    moved: bool,
    regressed: bool,
}

impl Cursor {
    /// A watch that starts at `position`, of a server whose newest version is `target`.
    pub fn new(position: &str, target: ResourceVersion) -> Self {
        let position = ResourceVersion::new(position);
        Self {
            caught_up: position == target || target.is_older_than(&position),
            position,
            target,
            received: None,
            confirmed_at: None,
            moved: false,
            regressed: false,
        }
    }

    /// The version to resume from.
    pub(super) fn version(&self) -> String {
        self.position.to_string()
    }

    /// The same version, in comparable form.
    pub fn position(&self) -> &ResourceVersion {
        &self.position
    }

    /// When the position was last confirmed by this watch.
    pub(super) fn confirmed_at(&self) -> Option<Timestamp> {
        self.confirmed_at
    }

    /// Whether the current line may describe something that happened before the watch was opened.
    pub(super) fn is_behind(&self) -> bool {
        !self.caught_up || self.position == self.target
    }

    /// Whether the watch has advanced or confirmed its position.
    pub(super) fn has_moved(&self) -> bool {
        self.moved
    }

    /// Whether a line had a version below the position, which means that the history regressed. Resets the flag.
    pub(super) fn take_regressed(&mut self) -> bool {
        std::mem::take(&mut self.regressed)
    }

    /// Starts the next line.
    pub(super) fn begin_line(&mut self, received: Option<Timestamp>) {
        self.received = received;
    }

    /// Advances to the version of the current line. Returns when everything up to it was received, if that is proven.
    pub fn advance_to(&mut self, version: &str) -> Option<Timestamp> {
        let version = ResourceVersion::new(version);
        if version.may_follow(&self.position) {
            self.position = version;
            self.moved = true;
            self.caught_up |= !self.target.is_after(&self.position);
        } else if version != self.position {
            self.regressed |= version.is_older_than(&self.position);
            return None;
        }
        if !self.caught_up {
            return None;
        }
        self.confirmed_at = self.confirmed_at.max(self.received);
        self.received
    }

    /// The watch ends without a loss up to `at`. Returns whether that confirms the position.
    pub(super) fn finish(&mut self, at: Timestamp) -> bool {
        if self.caught_up {
            self.confirmed_at = self.confirmed_at.max(Some(at));
        }
        self.caught_up
    }

    /// A complete list proves that nothing exists between the position and `version`.
    pub(super) fn renew(&mut self, version: &str, at: Timestamp) {
        let version = ResourceVersion::new(version);
        if version.may_follow(&self.position) {
            self.position = version;
        }
        self.moved = true;
        self.caught_up = true;
        self.confirmed_at = self.confirmed_at.max(Some(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs(second)
    }

    fn cursor(position: &str, target: &str) -> Cursor {
        let mut cursor = Cursor::new(position, ResourceVersion::new(target));
        cursor.begin_line(Some(at(1)));
        cursor
    }

    #[test]
    fn advance_to_backlog_confirms_nothing_and_later_lines_do() {
        let mut cursor = cursor("10", "30");
        assert_eq!(cursor.advance_to("20"), None);
        assert!(cursor.is_behind());
        assert_eq!(cursor.advance_to("30"), Some(at(1)));
        assert!(cursor.is_behind(), "the last of the backlog");
        cursor.begin_line(None);
        assert_eq!(cursor.advance_to("31"), None, "it was buffered");
        assert!(!cursor.is_behind());
        cursor.begin_line(Some(at(2)));
        assert_eq!(
            cursor.advance_to("31"),
            Some(at(2)),
            "a bookmark repeats it"
        );
        assert_eq!(cursor.version(), "31");
    }

    #[test]
    fn advance_to_incomparable_version_moves_and_confirms_nothing() {
        for version in ["", "0", "9", "-1", "007", "abc", "99999999999999999999"] {
            let mut cursor = cursor("10", "10");
            assert!(cursor.caught_up);
            assert_eq!(cursor.advance_to(version), None, "{version}");
            assert_eq!(cursor.version(), "10", "{version}");
            assert!(!cursor.has_moved());
            let is_lower = matches!(version, "0" | "9");
            assert_eq!(cursor.take_regressed(), is_lower, "{version}");
        }
    }

    #[test]
    fn advance_to_opaque_version_confirms_only_from_the_target_on() {
        let mut cursor = cursor("abc", "abd");
        assert_eq!(cursor.advance_to("abx"), None);
        assert_eq!(
            (cursor.version().as_str(), cursor.advance_to("")),
            ("abx", None)
        );
        assert_eq!(cursor.advance_to("abd"), Some(at(1)));
        assert_eq!(cursor.advance_to("abe"), Some(at(1)));
    }
}
