//! Character classes.

/// Characters of a key. Dashes too, so that flags and PEM markers are words.
#[inline]
pub(super) fn is_key(byte: u8) -> bool {
    const KEY: [bool; 256] = {
        let mut key = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            key[byte] =
                (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'_' | b'-' | b'.');
            byte += 1;
        }
        key
    };
    KEY[byte as usize]
}

/// Kinds of bytes in a text, a bit each. Most texts lack all of them, so that nothing is searched for them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kinds(u8);

impl Kinds {
    const ENCODED: u8 = 1;
    const BRACKET: u8 = 2;
    const CAPITAL_S: u8 = 4;

    pub(super) fn of(text: &str) -> Self {
        const KINDS: [u8; 256] = {
            let mut kinds = [0; 256];
            let mut byte = 0;
            while byte < 256 {
                kinds[byte] = match byte as u8 {
                    b'\n' | b'\t' | b'\r' => 0,
                    b'\\' | b'%' | b'&' | 0x7f.. | 0..b' ' => Kinds::ENCODED,
                    b'[' => Kinds::BRACKET,
                    b'S' => Kinds::CAPITAL_S,
                    _ => 0,
                };
                byte += 1;
            }
            kinds
        };
        Self(text.bytes().fold(0, |all, byte| all | KINDS[byte as usize]))
    }

    /// A byte that may begin an encoding: see `view`.
    pub(super) fn has_encoded(self) -> bool {
        self.0 & Self::ENCODED != 0
    }

    /// `[`, which begins a mark.
    pub(super) fn has_bracket(self) -> bool {
        self.0 & Self::BRACKET != 0
    }

    /// `S`, which begins the kind Secret.
    pub(super) fn has_capital_s(self) -> bool {
        self.0 & Self::CAPITAL_S != 0
    }
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

pub(super) fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

pub(super) fn is_alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// `[A-Z0-9]`, as base32 and key ids have it.
pub(super) fn is_capital(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

/// base64url, and what many issuers use.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

pub(super) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Every byte that some token format uses.
pub(super) fn is_wide(byte: u8) -> bool {
    is_word(byte) || matches!(byte, b'.' | b'+' | b'/' | b'=' | b'~')
}

/// crypt(3) hashes: fields between `$`.
pub(super) fn is_crypt(byte: u8) -> bool {
    is_wide(byte) || matches!(byte, b'$' | b',' | b':')
}

/// Characters that end a sentence or close a bracket or quote.
pub(super) fn is_closing(c: char) -> bool {
    matches!(
        c,
        '.' | ',' | ';' | ':' | ')' | ']' | '}' | '!' | '?' | '"' | '\'' | '`' | '>' | '\\'
    )
}

pub(super) fn quote_bit(byte: u8) -> u8 {
    match byte {
        b'"' => 1,
        b'\'' => 2,
        b'`' => 4,
        _ => 0,
    }
}
