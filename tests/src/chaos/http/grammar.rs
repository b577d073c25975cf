//! Request grammar: what RFC 9112 allows, what it forbids, and what is not HTTP.

use crate::generator::Rng;

const METHODS: [&[u8]; 12] = [
    b"GET", b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE",
    b"PRI", b"g\x00t",
];

const TARGETS: [&[u8]; 48] = [
    b"/livez",
    b"/livez",
    b"/livez",
    b"/livez",
    b"/metrics",
    b"/healthz",
    b"/readyz",
    b"/healthz",
    b"/metrics",
    b"/",
    b"//",
    b"///a:b@c",
    b"/livez?",
    b"/livez?a=b&c=%00%ff",
    b"/livez#fragment",
    b"/livez?#",
    b"/%2e%2e/%2e%2e/etc/passwd",
    b"/..;/livez",
    b"/\xff\xfe\xfd",
    b"/l\xc3\xadvez",
    b"/a|b^c`d{e}\"<>\\",
    b"*",
    b"**",
    b"*/",
    b"a",
    b"a:1",
    b"a:99999999",
    b":",
    b":80",
    b"@",
    b"user:word@a:1",
    b"[::1]",
    b"[::1]:80",
    b"[",
    b"]:80",
    b"[v1.x]:80",
    b"http://a/livez",
    b"http://a",
    b"http://a?b",
    b"http://",
    b"http:///livez",
    b"http:",
    b"HTTPS://[::1]:80/metrics?x",
    b"ftp://a/livez",
    b"file:///livez",
    b"?",
    b"#",
    b"",
];

const VERSIONS: [&[u8]; 12] = [
    b"HTTP/1.1",
    b"HTTP/1.1",
    b"HTTP/1.1",
    b"HTTP/1.1",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/9.9",
    b"http/1.1",
    b"HTTP/1.",
    b"",
];

const NAMES: [&[u8]; 20] = [
    b"Host",
    b"Host",
    b"Content-Length",
    b"Content-Length",
    b"Transfer-Encoding",
    b"Transfer-Encoding",
    b"Connection",
    b"Upgrade",
    b"Expect",
    b"Trailer",
    b"TE",
    b"Date",
    b"Authorization",
    b"Cookie",
    b"Range",
    b"Accept-Encoding",
    b"X-A",
    b"",
    b" X-A",
    b"X\x00A",
];

const VALUES: [&[u8]; 28] = [
    b"kube9",
    b"a:b:c",
    b"",
    b"0",
    b"1",
    b"5",
    b"-1",
    b"+5",
    b"0x5",
    b"5, 5",
    b"18446744073709551615",
    b"99999999999999999999999999",
    b"chunked",
    b"chunked, chunked",
    b"gzip, chunked",
    b"chunked, gzip",
    b"identity",
    b"close",
    b"keep-alive",
    b"close, upgrade",
    b"upgrade",
    b"websocket",
    b"h2c",
    b"100-continue",
    b"bytes=0-1,-1",
    b"\xff\xfe",
    b"a\x00b",
    b"Bearer 0\r\n folded",
];

const BODIES: [&[u8]; 12] = [
    b"",
    b"",
    b"",
    b"a",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"0\r\n\r\n",
    b"0\r\nTrailer: a\r\n\r\n",
    b"ffffffffffffffff\r\na",
    b"zz\r\n\r\n",
    b"5;extension=\"\x00\"\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n",
];

const ENDS: [&[u8]; 6] = [b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"];

/// A request: every second one is well-formed but for its target.
pub(super) fn request(random: &mut Rng) -> Vec<u8> {
    match random.below(100) {
        0..3 => return other(random),
        3..53 => {
            let (method, target) = (*random.pick(&METHODS[..4]), *random.pick(&TARGETS));
            return [method, b" ", target, b" HTTP/1.1\r\nHost: kube9\r\n\r\n"].concat();
        }
        _ => {}
    }
    let end = *random.pick(&ENDS);
    let long = |random: &mut Rng| vec![b'x'; random.index(40_000)];
    let mut request = random.pick(&METHODS).to_vec();
    request.push(b' ');
    request.extend(*random.pick(&TARGETS));
    if random.percent(2) {
        request.extend(long(random));
    }
    request.push(b' ');
    request.extend(*random.pick(&VERSIONS));
    request.extend(end);
    let headers = match random.below(100) {
        0..2 => random.below(3_000),
        2..10 => random.below(120),
        _ => random.below(5),
    };
    for _ in 0..headers {
        request.extend(*random.pick(&NAMES));
        request.extend(if random.percent(95) { &b": "[..] } else { b"" });
        request.extend(*random.pick(&VALUES));
        if random.percent(1) && headers < 10 {
            request.extend(long(random));
        }
        request.extend(end);
    }
    request.extend(end);
    request.extend(*random.pick(&BODIES));
    request
}

/// What is not HTTP/1 at all.
fn other(random: &mut Rng) -> Vec<u8> {
    match random.below(4) {
        0 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00".to_vec(),
        1 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        2 => vec![0; random.index(1_000)],
        _ => (0..random.below(2_000))
            .map(|_| random.draw() as u8)
            .collect(),
    }
}

/// Mutates it in one to four places.
pub(super) fn mutate(random: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.between(1, 4) {
        let at = random.index(bytes.len() + 1);
        let end = (at + random.index(40)).min(bytes.len());
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] = random.draw() as u8,
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => bytes.insert(at, *random.pick(b"\0\r\n :/?#*@[]\x7f\x80\xff")),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            5 => {
                let other = request(random);
                let from = random.index(other.len() + 1);
                bytes.splice(at..end, other[from..].iter().copied());
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_determined_by_seed() {
        let of = |seed| {
            let mut random = Rng::new(seed);
            let mut bytes = request(&mut random);
            mutate(&mut random, &mut bytes);
            bytes
        };
        assert_eq!(of(7), of(7));
        assert!((0..100).any(|seed| of(seed) != of(seed + 100)));
    }
}
