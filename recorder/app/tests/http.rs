//! Requests of every form against the process: checks the answer, and that the process answers the next request.
//!
//! Also run against the binary of the image (`KUBE9_RECORDER_BIN`), which is built with other settings.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test, and helpers of tests count as tests"
)]

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::process::Child;

use crate::support::{Log, Workspace, connect, exchange, read_all, request, signal};

/// Longer than the head of any request may be (16 KiB).
const TOO_LONG: usize = 64 << 10;

/// For tests of slow clients, which would otherwise wait for ten seconds or more.
const SHORT: [(&str, &str); 2] = [
    ("KUBE9_HTTP_HEADER_TIMEOUT", "1s"),
    ("KUBE9_HTTP_CONNECTION_TIMEOUT", "2s"),
];

/// A running recorder.
struct Recorder {
    process: Child,
    log: Log,
    address: String,
    _workspace: Workspace,
}

impl Recorder {
    fn start() -> Self {
        Self::with(&[])
    }

    fn with(settings: &[(&str, &str)]) -> Self {
        let workspace = Workspace::new();
        let mut process = workspace
            .command(&["--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(["--log-level", "debug"])
            .envs(settings.iter().copied())
            .spawn()
            .unwrap();
        let log = Log::of(&mut process);
        let address = log.address();
        Self {
            process,
            log,
            address,
            _workspace: workspace,
        }
    }

    /// Checks that it answers, that no connection panicked, that it exits cleanly, and that its log does not contain
    /// `mark`.
    #[track_caller]
    fn assert_well(mut self) {
        let alive = request(&self.address, "GET /livez HTTP/1.1");
        assert_eq!(codes(&alive), [200], "{alive}");
        let page = request(&self.address, "GET /metrics HTTP/1.1");
        assert!(page.contains("\nkube9_http_panics_total 0\n"), "{page}");
        assert_eq!(self.process.try_wait().unwrap(), None);
        signal(&self.process, "-TERM");
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
        for line in self.log.rest() {
            let line = line.to_string();
            assert!(!line.contains(MARK) && !line.contains("panic"), "{line}");
        }
    }
}

/// Part of the requests; must not be logged, even at `debug`.
const MARK: &str = "cb97e2";

/// The status codes of all responses in `text`.
fn codes(answers: &str) -> Vec<u16> {
    answers
        .split("HTTP/1.")
        .skip(1)
        .filter_map(|answer| answer.get(2..5)?.parse().ok())
        .collect()
}

/// Sends the bytes, shuts down the sending side, and reads the response.
#[track_caller]
fn answered(request: impl AsRef<[u8]>, expected: &[u16]) {
    let recorder = Recorder::start();
    let (answers, was_reset) = exchange(&recorder.address, request.as_ref());
    let codes = codes(&answers);
    let is_lost = was_reset && expected.starts_with(&codes);
    assert!(codes == expected || is_lost, "{codes:?}: {answers}");
    recorder.assert_well();
}

/// CODES)`: one test a form. => `http!(NAME, REQUEST => CODES)`: one test per form. => CODES)`: one test a form.
macro_rules! http {
    ($($(#[$doc:meta])* $name:ident: $request:expr => $codes:expr;)*) => {$(
        $(#[$doc])*
        #[test]
        fn $name() {
            answered($request, &$codes);
        }
    )*};
}

const END: &str = "Connection: close\r\n\r\n";

http! {
    // Forms of the target (RFC 9112, section 3.2).
    target_in_origin_form_is_answered: format!("GET /livez?{MARK} HTTP/1.1\r\n{END}") => [200];
    target_in_absolute_form_is_answered: format!("GET http://{MARK}:8080/livez?a=b HTTP/1.1\r\n{END}") => [200];
    target_in_absolute_form_without_a_path_is_404: format!("GET http://{MARK} HTTP/1.1\r\n{END}") => [404];
    target_of_another_scheme_is_400: format!("GET ftp://{MARK}/livez HTTP/1.1\r\n{END}") => [400];
    target_with_a_scheme_alone_is_400: format!("GET http:// HTTP/1.1\r\n{END}") => [400];
    target_in_authority_form_is_400: format!("GET {MARK} HTTP/1.1\r\n\r\n") => [400];
    target_of_one_letter_is_400: "GET a HTTP/1.1\r\n\r\n" => [400];
    target_in_authority_form_with_a_port_is_400: format!("GET {MARK}:1 HTTP/1.1\r\n{END}") => [400];
    target_with_a_user_is_400: format!("GET user:{MARK}@a:1 HTTP/1.1\r\n{END}") => [400];
    target_of_an_ipv6_address_is_400: "GET [::1]:80 HTTP/1.1\r\n\r\n" => [400];
    connect_is_400: format!("CONNECT {MARK}:1 HTTP/1.1\r\n\r\n") => [400];
    connect_with_a_path_is_405: format!("CONNECT /livez HTTP/1.1\r\n{END}") => [405];
    connect_in_http_10_is_400: "CONNECT a:1 HTTP/1.0\r\n\r\n" => [400];
    target_in_asterisk_form_is_for_options: format!("OPTIONS * HTTP/1.1\r\n{END}") => [405];
    target_in_asterisk_form_of_another_method_is_400: format!("GET * HTTP/1.1\r\n{END}") => [400];
    target_with_more_than_an_asterisk_is_400: format!("GET ** HTTP/1.1\r\n{END}") => [400];
    target_that_is_a_query_is_400: format!("GET ?{MARK} HTTP/1.1\r\n{END}") => [400];
    target_that_is_a_fragment_is_400: format!("GET #{MARK} HTTP/1.1\r\n{END}") => [400];
    target_that_is_relative_is_400: format!("GET livez HTTP/1.1\r\n{END}") => [400];
    target_that_begins_with_two_slashes_is_404: format!("GET //{MARK}/livez HTTP/1.1\r\n{END}") => [404];
    target_with_a_fragment_is_answered: format!("GET /livez#{MARK} HTTP/1.1\r\n{END}") => [200];
    target_that_is_empty_is_400: format!("GET  HTTP/1.1\r\n{END}") => [400];
    target_that_is_escaped_is_404: format!("GET /%00%ff%2e%2e/{MARK} HTTP/1.1\r\n{END}") => [404];
    target_with_a_space_is_400: format!("GET /livez {MARK} HTTP/1.1\r\n{END}") => [400];

    // Bytes that are not text.
    target_that_is_not_utf_8_is_400: b"GET /\xff\xfe\x80cb97e2 HTTP/1.1\r\n\r\n" => [400];
    target_in_utf_8_is_404: "GET /lív€z HTTP/1.1\r\nConnection: close\r\n\r\n" => [404];
    target_with_a_nul_is_400: b"GET /\0livez HTTP/1.1\r\n\r\n" => [400];
    header_that_is_not_utf_8_is_ignored: b"GET /livez HTTP/1.1\r\nX-A: \xff\xfe\x80\r\nConnection: close\r\n\r\n" => [200];
    header_with_a_nul_is_400: b"GET /livez HTTP/1.1\r\nX-A: a\0b\r\n\r\n" => [400];
    header_name_that_is_not_ascii_is_400: "GET /livez HTTP/1.1\r\nX-Ä: a\r\n\r\n" => [400];
    header_without_a_name_is_400: "GET /livez HTTP/1.1\r\n: a\r\n\r\n" => [400];
    header_without_a_colon_is_400: "GET /livez HTTP/1.1\r\nnonsense\r\n\r\n" => [400];
    header_folded_over_two_lines_is_400: "GET /livez HTTP/1.1\r\nX-A: a\r\n b\r\n\r\n" => [400];
    header_lines_that_end_in_a_carriage_return_alone_are_400: "GET /livez HTTP/1.1\rHost: a\r\r" => [400];
    lines_that_end_in_a_line_feed_are_answered: "GET /livez HTTP/1.1\nConnection: close\n\n" => [200];
    nul_bytes_are_400: [0; 64] => [400];
    bytes_of_all_values_are_400: (0..=255).collect::<Vec<u8>>() => [400];
    tls_hello_is_400: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03cb97e2" => [400];

    // Methods.
    method_that_is_unknown_is_405: format!("{MARK} /livez HTTP/1.1\r\n{END}") => [405];
    method_that_is_empty_is_400: " /livez HTTP/1.1\r\n\r\n" => [400];
    method_that_is_no_token_is_400: "G(T /livez HTTP/1.1\r\n\r\n" => [400];
    method_of_four_kib_is_405: format!("{} /livez HTTP/1.1\r\n{END}", "M".repeat(4 << 10)) => [405];
    method_head_has_no_body: format!("HEAD /livez HTTP/1.1\r\n{END}") => [200];

    // Sizes.
    head_that_is_too_long_is_431: format!("GET /livez HTTP/1.1\r\nX-A: {}", "x".repeat(TOO_LONG)) => [431];
    target_that_is_too_long_is_refused: format!("GET /{}", "x".repeat(TOO_LONG)) => [431];
    head_of_hundred_headers_is_answered: format!("GET /livez HTTP/1.1\r\n{}{END}", "a: b\r\n".repeat(90)) => [200];
    head_of_too_many_headers_is_431: format!("GET /livez HTTP/1.1\r\n{}{END}", "a: b\r\n".repeat(2000)) => [431];

    // Versions.
    http_10_is_answered: "GET /livez HTTP/1.0\r\n\r\n" => [200];
    http_09_is_400: "GET /livez\r\n" => [400];
    http_2_is_400: "GET /livez HTTP/2.0\r\n\r\n" => [400];
    http_of_another_version_is_400: "GET /livez HTTP/9.9\r\n\r\n" => [400];
    http_2_preface_is_closed: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0" => [0; 0];

    // Several requests.
    pipelined_requests_are_answered_in_order: format!(
        "GET /livez HTTP/1.1\r\n\r\nGET /nothing HTTP/1.1\r\n\r\nGET a HTTP/1.1\r\n\r\nDELETE /livez HTTP/1.1\r\n{END}"
    ) => [200, 404, 400, 405];
    garbage_after_a_request_is_400: "GET /livez HTTP/1.1\r\n\r\n\x01\x02cb97e2\r\n\r\n" => [200, 400];
    hundred_pipelined_requests_are_answered: "GET /livez HTTP/1.1\r\n\r\n".repeat(100) => [200; 100];

    // Bodies, which no page reads.
    body_of_its_length_is_skipped: format!("POST /livez HTTP/1.1\r\nContent-Length: 6\r\n\r\n{MARK}GET /livez HTTP/1.1\r\n{END}") => [405, 200];
    body_that_is_chunked_is_skipped: format!("GET /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{MARK}\r\n0\r\n\r\nGET /livez HTTP/1.1\r\n{END}") => [200, 200];
    body_of_a_huge_chunk_is_answered: "GET /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx" => [200];
    body_of_a_chunk_without_a_size_is_answered: "GET /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n" => [200];
    body_of_another_encoding_is_400: "GET /livez HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n" => [400];
    body_of_two_encodings_in_http_10_is_400: "GET /livez HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" => [400];
    content_length_below_zero_is_400: "GET /livez HTTP/1.1\r\nContent-Length: -1\r\n\r\n" => [400];
    content_length_that_overflows_is_400: "GET /livez HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n" => [400];
    content_length_of_the_largest_number_is_refused: "GET /livez HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n" => [431];
    content_length_that_is_no_number_is_400: "GET /livez HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n" => [400];
    content_lengths_that_differ_are_400: "GET /livez HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab" => [400];
    content_length_beside_an_encoding_is_answered: "GET /livez HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" => [200];
    expectation_is_answered_without_a_body: format!("POST /livez HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 6\r\n{END}") => [405];
    upgrade_is_ignored: format!("GET /livez HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {MARK}\r\nConnection: Upgrade, close\r\n\r\n") => [200];
    upgrade_to_http_2_is_ignored: "GET /livez HTTP/1.1\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\r\n" => [200];

    // Ends.
    nothing_at_all_is_closed: "" => [0; 0];
    half_of_a_request_is_closed: format!("GET /livez HTTP/1.1\r\nX-A: {MARK}") => [0; 0];
    empty_lines_are_closed: "\r\n\r\n\r\n" => [0; 0];
    empty_line_before_a_request_is_skipped: format!("\r\nGET /livez HTTP/1.1\r\n{END}") => [200];
}

#[test]
fn head_request_returns_get_headers_without_body() {
    let recorder = Recorder::start();
    for page in ["/metrics", "/livez", "/readyz", "/healthz", "/nothing"] {
        let answer = request(&recorder.address, &format!("HEAD {page} HTTP/1.1"));
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        let length = answer.to_lowercase();
        assert!(length.contains("content-length: "), "{page}: {answer}");
    }
    recorder.assert_well();
}

/// Occasional bytes: the timeout applies to the whole head, not to each byte.
#[test]
fn slow_request_head_is_cut_off() {
    let recorder = Recorder::with(&SHORT);
    let mut stream = connect(&recorder.address);
    let slow = format!("GET /livez HTTP/1.1\r\nX-A: {MARK}");
    for byte in slow.bytes().cycle() {
        if stream.write_all(&[byte]).is_err() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    recorder.assert_well();
}

#[test]
fn missing_request_body_is_cut_off() {
    let recorder = Recorder::with(&SHORT);
    let mut stream = connect(&recorder.address);
    let head = "POST /livez HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(codes(&read_all(&mut stream).0), [405]);
    recorder.assert_well();
}

#[test]
fn client_that_never_reads_is_cut_off() {
    let recorder = Recorder::with(&SHORT);
    let mut stream = connect(&recorder.address);
    let requests = "GET /metrics HTTP/1.1\r\n\r\n".repeat(1000);
    // The connection ends at its maximum lifetime.
    while stream.write_all(requests.as_bytes()).is_ok() {}
    recorder.assert_well();
}

#[test]
fn client_closing_after_any_byte_does_no_harm() {
    let recorder = Recorder::start();
    let whole = format!("GET http://{MARK}/livez HTTP/1.1\r\nHost: a\r\n\r\n");
    for end in 0..whole.len() {
        let mut stream = connect(&recorder.address);
        drop(stream.write_all(&whole.as_bytes()[..end]));
    }
    recorder.assert_well();
}

#[test]
fn connections_beyond_limit_do_no_harm() {
    let recorder = Recorder::start();
    let silent: Vec<TcpStream> = (0..300).map(|_| connect(&recorder.address)).collect();
    for stream in &silent {
        drop((&*stream).write_all(b"GET a HTTP/1.1\r\n\r\n"));
        drop(stream.shutdown(Shutdown::Both));
    }
    recorder.assert_well();
}
