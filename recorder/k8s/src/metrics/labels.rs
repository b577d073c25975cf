//! The label values, as enums.

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
        /// In a form that does not decode.
        Undecodable => "undecodable",
    }
);

label!(
    /// Why a watch was opened again.
    RestartCause {
        /// The server closed it in an orderly way, mostly by its timeout.
        Closed => "closed",
        /// The connection failed.
        Transport => "transport",
        /// Nothing arrived for longer than the server's own timeout.
        Silence => "silence",
        /// 410: the position is too old; a relist follows.
        Gone => "gone",
        /// 401 or 403: a permission or a token is missing.
        Forbidden => "forbidden",
        /// 429, or another status with `Retry-After`.
        Throttled => "throttled",
        /// 5xx.
        ServerError => "server_error",
        /// The recorder's own queue was full for too long.
        QueueFull => "queue_full",
        /// The recorder's own queue dropped items of this watch; a relist follows.
        Overflow => "queue_overflow",
        /// The stream ended immediately, repeatedly, without an item; a relist follows.
        EmptyStream => "empty_stream",
        /// The API server's history regressed (etcd was restored); a relist follows.
        Regressed => "history_regressed",
        /// Anything else.
        Other => "other",
    }
);
