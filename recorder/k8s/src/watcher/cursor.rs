//! How far a watch has come, and what that proves.
//!
//! ```text
//!   position < target   a backlog: when its lines are received proves nothing
//!   position ≥ target   caught up: a line that was waited for proves that all before it was seen by then
//! ```
//!
//! The target is what the API server's newest version was before the watch was opened.
//!
//! Invariant: the position never moves back, nor to a version that cannot be compared with it.
//! Invariant: nothing is proven by a line that lay in the connection while its consumer was busy, nor by one whose
//! version is empty, 0 or lower than the position.

use kube9_model::identity::ResourceVersion;
use kube9_model::time::Timestamp;

/// How far a watch has come.
#[derive(Debug)]
pub struct Cursor {
    position: ResourceVersion,
    target: ResourceVersion,
    caught_up: bool,
    /// When the line at hand was received, if it was waited for.
    received: Option<Timestamp>,
    /// The newest proof of this watch.
    proven: Option<Timestamp>,
    moved: bool,
    went_back: bool,
}

impl Cursor {
    /// A watch that begins at `position` of a server that is at `target`.
    pub fn new(position: &str, target: ResourceVersion) -> Self {
        let position = ResourceVersion::new(position);
        Self {
            caught_up: position == target || target.is_older_than(&position),
            position,
            target,
            received: None,
            proven: None,
            moved: false,
            went_back: false,
        }
    }

    /// The version to go on from.
    pub(super) fn version(&self) -> String {
        self.position.to_string()
    }

    /// The same, to compare.
    pub fn position(&self) -> &ResourceVersion {
        &self.position
    }

    /// The newest proof of this watch.
    pub(super) fn proven(&self) -> Option<Timestamp> {
        self.proven
    }

    /// Whether the line at hand may have been there before the watch was opened.
    pub(super) fn is_behind(&self) -> bool {
        !self.caught_up || self.position == self.target
    }

    /// Whether it has come anywhere.
    pub(super) fn has_moved(&self) -> bool {
        self.moved
    }

    /// A line below the position came, which a sound history does not send.
    pub(super) fn takes_went_back(&mut self) -> bool {
        std::mem::take(&mut self.went_back)
    }

    /// A line is at hand.
    pub(super) fn line(&mut self, received: Option<Timestamp>) {
        self.received = received;
    }

    /// The line's version; returns since when everything up to it is known to have been told.
    pub fn reach(&mut self, version: &str) -> Option<Timestamp> {
        let version = ResourceVersion::new(version);
        if version.may_follow(&self.position) {
            self.position = version;
            self.moved = true;
            self.caught_up |= !self.target.is_after(&self.position);
        } else if version != self.position {
            self.went_back |= version.is_older_than(&self.position);
            return None;
        }
        if !self.caught_up {
            return None;
        }
        self.proven = self.proven.max(self.received);
        self.received
    }

    /// The watch ends, and nothing can have been missing until then. Returns whether that is a proof.
    pub(super) fn ends(&mut self, at: Timestamp) -> bool {
        if self.caught_up {
            self.proven = self.proven.max(Some(at));
        }
        self.caught_up
    }

    /// A complete list shows that nothing lies between the position and `version`.
    pub(super) fn renewed(&mut self, version: &str, at: Timestamp) {
        let version = ResourceVersion::new(version);
        if version.may_follow(&self.position) {
            self.position = version;
        }
        self.moved = true;
        self.caught_up = true;
        self.proven = self.proven.max(Some(at));
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
        cursor.line(Some(at(1)));
        cursor
    }

    #[test]
    fn backlog_proves_nothing_and_what_comes_after_it_does() {
        let mut cursor = cursor("10", "30");
        assert_eq!(cursor.reach("20"), None);
        assert!(cursor.is_behind());
        assert_eq!(cursor.reach("30"), Some(at(1)));
        assert!(cursor.is_behind(), "the last of the backlog");
        cursor.line(None);
        assert_eq!(cursor.reach("31"), None, "it lay there for a while");
        assert!(!cursor.is_behind());
        cursor.line(Some(at(2)));
        assert_eq!(cursor.reach("31"), Some(at(2)), "a bookmark repeats it");
        assert_eq!(cursor.version(), "31");
    }

    #[test]
    fn versions_that_are_empty_zero_lower_or_of_another_kind_move_nothing_and_prove_nothing() {
        for version in ["", "0", "9", "-1", "007", "abc", "99999999999999999999"] {
            let mut cursor = cursor("10", "10");
            assert!(cursor.caught_up);
            assert_eq!(cursor.reach(version), None, "{version}");
            assert_eq!(cursor.version(), "10", "{version}");
            assert!(!cursor.has_moved());
            let is_lower = matches!(version, "0" | "9");
            assert_eq!(cursor.takes_went_back(), is_lower, "{version}");
        }
    }

    #[test]
    fn opaque_versions_move_the_position_and_prove_only_where_they_equal_the_target() {
        let mut cursor = cursor("abc", "abd");
        assert_eq!(cursor.reach("abx"), None);
        assert_eq!((cursor.version().as_str(), cursor.reach("")), ("abx", None));
        assert_eq!(cursor.reach("abd"), Some(at(1)));
        assert_eq!(cursor.reach("abe"), Some(at(1)));
    }
}
