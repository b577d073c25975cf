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
