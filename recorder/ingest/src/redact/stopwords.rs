//! Words of sentences, which are not secrets.

/// Words that follow "token:", "credentials:" or "password:" in a sentence, and states of a secret. Words that people use
/// as passwords are not listed.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "a", "access", "accessdenied", "account", "action", "add", "admission", "after", "algorithm", "all", "allowed",
    "already", "also", "ambiguous", "an", "and", "any", "api", "are", "argument", "arguments", "as", "at", "attempt",
    "attempted", "audience", "auth", "authenticated", "authenticating", "authentication", "authorization",
    "authorizing", "bad", "be", "because", "been", "before", "being", "between", "body", "both", "broken", "bucket",
    "but", "by", "call", "called", "can", "can't", "cannot", "cause", "certificate", "challenge", "change", "changed",
    "check", "checking", "claim", "client", "clock", "cluster", "code", "command", "config", "configmap", "configmaps",
    "conflicts", "connect", "connecting", "connection", "connections", "contains", "context", "controller", "could",
    "couldn't", "create", "created", "creating", "credential", "credentials", "cross-device", "data", "decode",
    "decoded", "decoding", "decrypt", "decryption", "deferred", "delete", "deleting", "device", "dial", "did",
    "didn't", "digest", "disk", "dns", "does", "doesn't", "done", "due", "duplicate", "duplicated", "during", "either",
    "empty", "encoding", "endpoint", "ensure", "env", "environment", "error", "errors", "etcdserver", "exceeded",
    "exceeds", "exchange", "exec", "exit", "expected", "expiry", "extra", "fail", "fails", "failure", "fetch",
    "fetching", "field", "file", "files", "first", "flag", "flags", "for", "forbidden", "format", "found", "from",
    "generate", "get", "getting", "give", "got", "grant", "had", "handler", "has", "have", "head", "header", "host",
    "however", "http", "https", "i/o", "identity", "if", "ignoring", "illegal", "image", "in", "incompatible",
    "incorrect", "index", "input", "insufficient", "interaction", "internal", "interrupted", "invalid", "io", "is",
    "isn't", "issued", "issuer", "it", "its", "json", "key", "keys", "kubelet", "last", "length", "less", "line",
    "list", "listing", "load", "loading", "local", "longer", "lookup", "make", "malformed", "managed", "mapping",
    "match", "max", "maximum", "may", "message", "metadata", "method", "min", "minimum", "mismatch", "more", "most",
    "mount", "mounted", "must", "mutually", "namespace", "namespaces", "need", "needed", "needs", "neither",
    "net/http", "network", "no", "node", "non-empty", "none", "not", "nothing", "object", "of", "on", "one", "only",
    "oops", "open", "opening", "operation", "option", "or", "other", "out", "over", "owner", "parameter", "parse",
    "parsing", "patch", "path", "pattern", "permission", "please", "pod", "pods", "policy", "poll", "post",
    "principal", "private", "process", "property", "provide", "provided", "provider", "proxy", "public", "pull", "put",
    "read", "reading", "readonly", "realm", "reason", "receive", "received", "reference", "refresh", "refused",
    "reject", "remote", "renew", "renewal", "request", "requested", "requests", "require", "requires", "resolve",
    "resource", "response", "retrieve", "retry", "retrying", "review", "role", "rotationpolicy", "rpc", "rule", "same",
    "scheme", "scope", "scopes", "secret", "secrets", "see", "server", "service", "serviceaccount", "serviceaccounts",
    "set", "setting", "shorter", "should", "signature", "signed", "signing", "since", "size", "some", "ssl", "stat",
    "status", "still", "store", "str", "string", "succeeded", "such", "taken", "than", "that", "the", "their", "then",
    "there", "these", "this", "though", "timed", "timeout", "times", "tls", "to", "token", "tokens", "too",
    "transport", "try", "trying", "type", "unable", "unauthenticated", "unauthorized", "unbound", "undeclared",
    "unexpected", "unknown", "unmarshal", "unrecognized", "unresolved", "unsupported", "unterminated", "until",
    "update", "updating", "upstream", "usage", "use", "used", "user", "username", "uses", "using", "validate",
    "validating", "validation", "value", "values", "variable", "variables", "verification", "verify", "verifying",
    "via", "volume", "wait", "waiting", "was", "we", "were", "when", "where", "which", "while", "why", "will", "with",
    "within", "without", "work", "would", "write", "writing", "wrong", "x509", "yaml", "you", "your", "zero-length",
];

/// States and answers that a key can have instead of a secret.
#[rustfmt::skip]
const STATES: &[&str] = &[
    "absent", "accepted", "active", "anonymous", "approved", "available", "basic", "bearer", "changed", "configured",
    "correct", "defined", "degraded", "denied", "deprecated", "disabled", "down", "empty", "enabled", "expired",
    "expires", "expiring", "failed", "false", "forbidden", "generated", "good", "granted", "hidden", "ignored",
    "immutable", "inactive", "incorrect", "inherit", "invalid", "issued", "jwt", "kubernetes", "legacy", "loaded",
    "locked", "masked", "missing", "mtls", "n/a", "negotiate", "never", "nil", "no", "none", "null", "oauth", "oauth2",
    "off", "oidc", "ok", "on", "opaque", "optional", "pending", "plain", "present", "ready", "redacted", "refreshed",
    "rejected", "removed", "renewed", "required", "reset", "revoked", "rotated", "saved", "sealed", "set", "skipped",
    "stale", "stored", "success", "successful", "sync", "synced", "true", "unavailable", "unchanged", "undefined",
    "unsealed", "unset", "unspecified", "up", "updated", "valid", "validated", "verified", "weak", "yes",
];

/// Whether this word continues a sentence.
pub(super) fn is_stopword(word: &str) -> bool {
    contains(WORDS, word) || is_state(word)
}

/// Whether this is a state.
pub(super) fn is_state(word: &str) -> bool {
    contains(STATES, word)
}

fn contains(words: &[&str], word: &str) -> bool {
    const WORD_BYTES_MAX: usize = 20;
    word.len() <= WORD_BYTES_MAX
        && words
            .binary_search(&word.to_ascii_lowercase().as_str())
            .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopwords_are_sorted() {
        assert!(WORDS.is_sorted() && STATES.is_sorted());
        assert!(is_stopword("Net/http") && is_state("null") && !is_stopword("hunter2"));
    }
}
