//! The closed sets that labels take their values from.

use kube9_model::label;

label!(
    /// How an object arrived.
    Action {
        /// In a list.
        Listed => "listed",
        /// As ADDED in a watch.
        Added => "added",
        /// As MODIFIED in a watch.
        Modified => "modified",
        /// As DELETED in a watch.
        Deleted => "deleted",
        /// In a form that could not be read.
        Undecodable => "undecodable",
    }
);

label!(
    /// Why a watch had to be opened again.
    RestartCause {
        /// The server ended it in an orderly way, mostly by its timeout.
        Closed => "closed",
        /// The connection failed.
        Transport => "transport",
        /// Nothing came for longer than the server's own timeout.
        Silence => "silence",
        /// 410: the position is too old; a relist follows.
        Gone => "gone",
        /// 401 or 403: a permission or a token is missing.
        Forbidden => "forbidden",
        /// 429: the server asks for patience.
        Throttled => "throttled",
        /// 5xx.
        ServerError => "server_error",
        /// The recorder's own queue was full for too long.
        QueueFull => "queue_full",
        /// The recorder's own queue dropped items of this watch; a relist follows.
        Overflow => "queue_overflow",
        /// The stream ended at once, again and again, without an item; a relist follows.
        EmptyStream => "empty_stream",
        /// The API server's history is older than the position (etcd restored); a relist follows.
        Regressed => "history_regressed",
        /// Anything else.
        Other => "other",
    }
);
