//! Texts that were made to hurt: no panic, no work beyond the length of the text, and twice is as good as once.

use kube9_ingest::redact::redact;
use proptest::prelude::*;

/// As long as a text of an object can be before it is cut.
const BYTES: usize = 64 * 1024;

/// Pieces that mean something to the scanner.
const PIECES: &[&str] = &[
    "://",
    "://a@",
    "@tcp(",
    "password=",
    "token: \"",
    "-----BEGIN",
    "\\",
    "\"",
    "'",
    "`",
    "eyJ",
    "{[",
    "--token ,",
    "-p ",
    "-p",
    "mysql -p",
    "a.b/",
    "echo ",
    "x:y/",
    "Secret",
    "kind: Secret data:\n",
    "{\"auth\":",
    "auth: [",
    "{\"auth\":{\"",
    "<password>",
    "by ",
    "identified by ",
    "password: Invalid value: ",
    "AKIA",
    "Bearer ",
    "password ",
    "password '",
    "password is ",
    "&quot;",
    "%22",
    "\u{200b}",
    "sk-",
    "ghp_",
    "$2a$",
    "https://h/hooks/",
    "root:",
    "thin:",
    "stringData[",
    "password(\"",
    "curl -u ",
    "a",
    "A1b",
    "--",
    "1:",
    "cookie: a=",
    "authorization: x ",
    "authorization: x,a=",
    "password:\n",
    "data:\n ",
    "\"name\":\"token\",\"value\"",
    "%",
    "é",
    "token-a:",
    "s.",
    "AQ",
    "LS0tLS1CRUdJTi ",
    " >",
    "a@b:c//",
    "secret \"",
    "password,",
    "password]: ",
    "Q~",
    "1Q~",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN A-----\n",
    "username=u%",
    "invalid port \":",
    "invalid argument \"",
    "argument \"x\" for --token ",
    "Unseal Key 1",
    "Key 1 (",
    ".value: Invalid value: \"",
    "\"value\":\"",
    "value:x name:",
    "\"value\":\"x\",\"name\":",
    "a:b@",
    "a:",
    "lookup a:",
    "*:",
    "a:12:b:c:",
    "password for ",
    "password is: ",
    "password set to ",
    "password changed from 'a' to ",
    "<a password>",
    "<password><![CDATA[",
    "password: &a ",
    "password: = ",
    "password=a ",
    "x/auth:",
    "image auth:",
    "image:",
    "auth:a-",
    "/passwd: ",
    "password: a is ",
    "vault login ",
    "mc set a a a ",
    "mysql -u",
    "htpasswd -b a ",
    "\\x1b[",
    "\u{1b}[",
    "key=",
    "x_key:",
    "auth=auth={",
    "auth:{{",
    "[REDACTED]",
    "[REDACTED",
    "REDACTED]",
    "token=[",
    "map[",
    "data:map[string]",
    "\\\"",
    "\\u0022",
    "\u{ff1d}",
    "\u{201c}",
    "cifs user=a%",
    "rabbitmqctl add_user ",
    "password: |\n ",
    "=",
    ":",
    " ",
    "\n",
    "\t",
    ",",
    ";",
    "|",
    "&",
    "?",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    "/",
    "@",
    "#",
    "~",
    "$",
    "-",
    "_",
    ".",
    "x",
    "0",
];

#[test]
fn repeated_pieces_take_linear_time() {
    // A scan that is quadratic in any of these takes minutes here instead of seconds.
    for piece in PIECES {
        let text = format!("{}\" x", piece.repeat(BYTES / piece.len()));
        assert!(!redact(&text).is_empty(), "{piece}");
    }
}

#[test]
fn nested_structures_take_linear_time() {
    for (open, close) in [
        ("{\"auth\":", "}"),
        ("{\"password\":[", "]}"),
        ("map[token:", "]"),
        ("{\\\"secret\\\":", "}"),
        ("(password(\"", "\")"),
    ] {
        let levels = BYTES / (open.len() + close.len());
        let text = format!("{}1{}", open.repeat(levels), close.repeat(levels));
        assert!(!redact(&text).is_empty());
    }
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        2 => "[a-zA-Z0-9+/=_.-]{1,40}",
        1 => "\\PC{0,8}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_redacted_once_and_for_all(text in text()) {
        let once = redact(&text).into_owned();
        let twice = redact(&once).into_owned();
        prop_assert_eq!(&twice, &once, "{:?}", text);
    }
}
