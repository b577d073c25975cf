//! Characters that replace parts of a description in `message_template.body`. Stored text has no control characters (they are
//! escaped before), so these cannot occur in it.

/// The object's name.
pub const NAME: char = '\u{1}';
/// The object's namespace.
pub const NAMESPACE: char = '\u{2}';
/// The row's own arguments, `args[0]` to `args[4]`.
pub const ARGS: [char; 5] = ['\u{3}', '\u{4}', '\u{5}', '\u{6}', '\u{7}'];
