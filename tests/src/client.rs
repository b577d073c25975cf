//! A plain HTTP/1.1 client for tests of the simulator: it shows what is on the wire, also where a body is truncated.
//!
//! Blocking and without TLS. A real cluster is reached through `kubectl proxy`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// How long a read waits. A server that sends nothing for longer counts as silent.
const SILENCE: Duration = Duration::from_secs(5);

/// Address and token.
#[derive(Debug, Clone)]
pub struct Client {
    host: String,
    token: Option<String>,
    silence: Duration,
}

/// A complete response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP code.
    pub code: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The body as JSON; null if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// A response whose body is read line by line.
#[derive(Debug)]
pub struct Lines {
    /// HTTP code.
    pub code: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    body: BodyReader,
}

impl Lines {
    /// The next line without its end; `None` at the proper end of the body.
    ///
    /// # Errors
    /// `UnexpectedEof` if the body is truncated, `WouldBlock` or `TimedOut` if it stalls.
    pub fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.body.line()
    }

    /// The next line as JSON; null if it is not JSON.
    ///
    /// # Errors
    /// As [`Self::next_line`].
    pub fn next_json(&mut self) -> io::Result<Option<Value>> {
        Ok(self
            .next_line()?
            .map(|line| serde_json::from_slice(&line).unwrap_or(Value::Null)))
    }
}

impl Client {
    /// A client of `http://HOST:PORT`.
    pub fn new(base_url: &str, token: Option<&str>) -> Self {
        let host = base_url
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        Self {
            host,
            token: token.map(str::to_owned),
            silence: SILENCE,
        }
    }

    /// The same client with this read timeout.
    #[must_use]
    pub fn patient_for(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// GET.
    ///
    /// # Errors
    /// If the response is incomplete.
    pub fn get(&self, target: &str) -> io::Result<Answer> {
        self.send("GET", target, &[], b"")
    }

    /// Sends any request.
    ///
    /// # Errors
    /// If the response is incomplete.
    pub fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut lines = self.open(method, target, headers, body)?;
        let mut content = Vec::new();
        lines.body.read_to_end(&mut content)?;
        Ok(Answer {
            code: lines.code,
            headers: lines.headers,
            body: content,
        })
    }

    /// GET of a streamed body.
    ///
    /// # Errors
    /// The server does not respond.
    pub fn follow(&self, target: &str) -> io::Result<Lines> {
        self.open("GET", target, &[], b"")
    }

    fn open(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Lines> {
        let mut stream = TcpStream::connect(&self.host)?;
        stream.set_read_timeout(Some(self.silence))?;
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
            self.host
        );
        if let Some(token) = &self.token {
            head.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        read_head(BufReader::with_capacity(1 << 16, stream))
    }
}

fn read_head(mut stream: BufReader<TcpStream>) -> io::Result<Lines> {
    let broken = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer broke off");
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let code = line
        .split(' ')
        .nth(1)
        .and_then(|c| c.parse().ok())
        .ok_or_else(broken)?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Err(broken());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()))
            }
            None => break,
        }
    }
    let header = |name: &str| {
        headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    };
    let left = if header("transfer-encoding") == Some("chunked") {
        Left::Chunked {
            of_chunk: 0,
            first: true,
        }
    } else {
        Left::Bytes(
            header("content-length")
                .and_then(|l| l.parse().ok())
                .unwrap_or(0),
        )
    };
    Ok(Lines {
        code,
        headers,
        body: BodyReader {
            stream,
            left,
            line: Vec::new(),
        },
    })
}

#[derive(Debug, Clone, Copy)]
enum Left {
    Bytes(usize),
    Chunked { of_chunk: usize, first: bool },
    Nothing,
}

#[derive(Debug)]
struct BodyReader {
    stream: BufReader<TcpStream>,
    left: Left,
    line: Vec<u8>,
}

impl BodyReader {
    /// How many bytes may be taken from the stream now; 0 at the end of the body.
    fn available(&mut self) -> io::Result<usize> {
        if let Left::Chunked { of_chunk: 0, first } = self.left {
            if !first {
                self.text_line()?;
            }
            let size = self.text_line()?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(|_| {
                io::Error::new(io::ErrorKind::UnexpectedEof, "no chunk where one was due")
            })?;
            self.left = Left::Chunked {
                of_chunk: size,
                first: false,
            };
            if size == 0 {
                self.left = Left::Nothing;
            }
        }
        Ok(match self.left {
            Left::Bytes(n) | Left::Chunked { of_chunk: n, .. } => n,
            Left::Nothing => 0,
        })
    }

    fn text_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line)
    }

    fn took(&mut self, n: usize) {
        match &mut self.left {
            Left::Bytes(left) | Left::Chunked { of_chunk: left, .. } => *left -= n,
            Left::Nothing => {}
        }
    }

    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let available = self.available()?;
            if available == 0 {
                return Ok((!self.line.is_empty()).then(|| std::mem::take(&mut self.line)));
            }
            let buffer = self.stream.fill_buf()?;
            if buffer.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the body broke off",
                ));
            }
            let seen = &buffer[..buffer.len().min(available)];
            let (n, complete) = match seen.iter().position(|b| *b == b'\n') {
                Some(at) => (at + 1, true),
                None => (seen.len(), false),
            };
            self.line.extend_from_slice(&seen[..n]);
            self.stream.consume(n);
            self.took(n);
            if complete {
                self.line.pop();
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.available()?;
        if available == 0 {
            return Ok(0);
        }
        let wanted = into.len().min(available);
        let n = self.stream.read(&mut into[..wanted])?;
        if n == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the body broke off",
            ));
        }
        self.took(n);
        Ok(n)
    }
}
