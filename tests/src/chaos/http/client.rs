//! One hostile client: sends requests and counts the answers.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Counts;
use super::grammar;
use crate::generator::Rng;

/// Connections that a client holds without sending. All clients together hold more than the recorder's connection
/// limit.
const HELD_MAX: usize = 20;

/// How long a client waits for an answer that may not come.
const WAIT: Duration = Duration::from_millis(300);

/// Most that a client reads of what comes back: a page of /metrics, a hundred times.
const READ_MAX: u64 = 6 << 20;

/// Counts of one client.
#[derive(Debug, Default)]
pub struct ClientCounts {
    /// Connections opened.
    pub connections: u64,
    /// Requests sent, whole or not.
    pub requests: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// How requests were sent.
    pub forms: Counts<&'static str>,
    /// Status codes that came back.
    pub codes: Counts<u16>,
    /// Connections that the recorder reset.
    pub resets: u64,
    /// Connections that ended without an answer: half a request, or one displaced by others.
    pub silent: u64,
}

impl ClientCounts {
    /// Adds what another client saw.
    pub(super) fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.resets += other.resets;
        self.silent += other.silent;
        for (form, times) in other.forms {
            *self.forms.entry(form).or_default() += times;
        }
        for (code, times) in other.codes {
            *self.codes.entry(code).or_default() += times;
        }
    }
}

/// A client of that address.
pub(super) struct Client {
    address: SocketAddr,
    random: Rng,
    held: Vec<TcpStream>,
    seen: ClientCounts,
}

impl Client {
    pub(super) fn new(address: SocketAddr, random: Rng) -> Self {
        Self {
            address,
            random,
            held: Vec::new(),
            seen: ClientCounts::default(),
        }
    }

    /// Sends until `stop`.
    pub(super) fn run(mut self, stop: &AtomicBool) -> ClientCounts {
        while !stop.load(Ordering::Acquire) {
            // The recorder may close a connection at any time.
            let _ = self.step();
        }
        self.seen
    }

    fn step(&mut self) -> std::io::Result<()> {
        // All random decisions are made before sending: the same seed gives the same requests.
        let manner = self.random.below(100);
        let requests = self.random.between(1, 4);
        let mut bytes = Vec::new();
        for _ in 0..requests {
            bytes.extend(grammar::request(&mut self.random));
        }
        let is_broken = self.random.percent(60);
        if is_broken {
            grammar::mutate(&mut self.random, &mut bytes);
        }
        let cuts: Vec<usize> = (0..self.random.below(3))
            .map(|_| self.random.index(bytes.len().max(1)))
            .collect();
        let pause = Duration::from_micros(self.random.below(3_000));

        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_write_timeout(Some(WAIT))?;
        self.seen.connections += 1;
        self.seen.requests += requests;
        match manner {
            0..60 => {
                self.count(if is_broken {
                    "broken"
                } else {
                    "as the grammar has it"
                });
                self.send(&mut stream, &bytes)?;
                stream.shutdown(Shutdown::Write)?;
                self.take(&mut stream);
            }
            60..75 => {
                self.count("in pieces");
                let mut from = 0;
                let mut cuts = cuts;
                cuts.sort_unstable();
                for to in cuts.into_iter().chain([bytes.len()]) {
                    self.send(&mut stream, &bytes[from..to])?;
                    from = to;
                    std::thread::sleep(pause);
                }
                self.take(&mut stream);
            }
            75..85 => {
                self.count("closed without reading");
                self.send(&mut stream, &bytes)?;
            }
            85..95 => {
                self.count("held");
                let half = bytes.len() / 2;
                self.send(&mut stream, &bytes[..half])?;
                if self.held.len() >= HELD_MAX {
                    let index = self.random.index(self.held.len());
                    self.held.swap_remove(index);
                }
                self.held.push(stream);
            }
            _ => {
                self.count("many pipelined");
                let many = bytes.repeat(50);
                self.seen.requests += requests * 49;
                // The recorder may close before everything is sent.
                let sent = self.send(&mut stream, &many);
                self.take(&mut stream);
                sent?;
            }
        }
        Ok(())
    }

    fn count(&mut self, form: &'static str) {
        *self.seen.forms.entry(form).or_default() += 1;
    }

    fn send(&mut self, stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
        self.seen.bytes += bytes.len() as u64;
        stream.write_all(bytes)
    }

    /// Reads to the end or until the timeout.
    fn take(&mut self, stream: &mut TcpStream) {
        let mut answers = Vec::new();
        let read = stream.take(READ_MAX).read_to_end(&mut answers);
        let is_reset = read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
        self.seen.resets += u64::from(is_reset);
        let codes = codes(&answers);
        self.seen.silent += u64::from(codes.is_empty());
        for code in codes {
            *self.seen.codes.entry(code).or_default() += 1;
        }
    }
}

/// The status codes of all answers in what came back.
fn codes(answers: &[u8]) -> Vec<u16> {
    let heads = answers
        .windows(13)
        .filter(|head| head.starts_with(b"HTTP/1."));
    heads
        .filter_map(|head| std::str::from_utf8(&head[9..12]).ok()?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_of_all_answers_are_counted() {
        let answers = b"HTTP/1.1 200 OK\r\n\r\n{\"status\": 1}HTTP/1.1 400 Bad Request\r\n\r\n";
        assert_eq!(codes(answers), [200, 400]);
        assert_eq!(codes(b""), [0; 0]);
    }
}
