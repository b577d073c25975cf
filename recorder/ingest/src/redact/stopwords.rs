//! Words of sentences, which are no secrets.

/// Words with which a sentence goes on after "token:", "credentials:" or "bearer".
pub(super) fn is_prose(word: &str) -> bool {
    #[rustfmt::skip]
    const WORDS: &[&str] = &[
        "a", "access", "an", "and", "are", "auth", "authentication", "authorization", "by",
        "can't", "cannot", "challenge", "client", "configmap", "configmaps", "connection",
        "context", "could", "couldn't", "credential", "credentials", "delete", "dial", "duplicate",
        "error", "exec", "expired", "failed", "failure", "field", "file", "for", "forbidden",
        "from", "get", "has", "head", "header", "http", "in", "internal", "invalid", "is", "it",
        "key", "keys", "missing", "must", "namespace", "namespaces", "net/http", "no", "not",
        "object", "of", "open", "operation", "or", "patch", "permission", "pod", "pods", "post",
        "pull", "put", "read", "realm", "request", "required", "resource", "rpc", "scheme",
        "secret", "secrets", "server", "serviceaccount", "serviceaccounts", "stat", "that", "the",
        "this", "timed", "timeout", "tls", "to", "token", "tokens", "unable", "unauthorized",
        "unexpected", "unknown", "unsupported", "user", "value", "waiting", "was", "with", "write",
        "x509",
    ];
    word.len() <= 16
        && WORDS
            .binary_search(&word.to_ascii_lowercase().as_str())
            .is_ok()
}
