//! Names as Kubernetes makes them.

use super::rng::Rng;

/// The letters of generated names: without vowels, so that no words come out (apimachinery's `rand.String`).
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The five letters behind a generated name, from a number.
pub fn suffix_of(number: u64) -> String {
    safe_string(&mut Rng::new(number), 5)
}

/// A name's part in the safe alphabet.
pub(super) fn safe_string(rng: &mut Rng, length: usize) -> String {
    (0..length).map(|_| char::from(*rng.pick(SAFE))).collect()
}

/// Those 128 bits as a version 4 UUID.
pub fn uuid_text(bits: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62;
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}
