//! What a byte can be part of.

/// Characters of a key. Dashes too, so that flags and PEM markers are words.
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

pub(super) fn quote_bit(byte: u8) -> u8 {
    match byte {
        b'"' => 1,
        b'\'' => 2,
        b'`' => 4,
        _ => 0,
    }
}
