//! Marks stand for hidden values: equal marks of one field are equal values, and nothing else can be learned from them.
//!
//! A mark is the first 64 bits of HMAC-SHA-256 over the object, the path and the value. The same value elsewhere has another
//! mark, so that planting guesses in an object of one's own shows nothing.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The key of all marks: a secret of the recorder, which is in no database and no export.
#[derive(Clone)]
pub struct MarkKey(Hmac<Sha256>);

impl MarkKey {
    /// From 32 random bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        // HMAC pads a key with zeros up to a block.
        let mut block = [0; 64];
        block[..secret.len()].copy_from_slice(secret);
        Self(Hmac::new(&block.into()))
    }

    /// Which key it is; says nothing about the key.
    pub fn id(&self) -> u64 {
        let mut mac = self.0.clone();
        mac.update(b"kube9 key id");
        first_bits(mac)
    }

    /// The marks of one object.
    pub(super) fn object(&self, object: [&str; 4]) -> ObjectMarks {
        let mut mac = self.0.clone();
        for part in object {
            update(&mut mac, part.as_bytes());
        }
        ObjectMarks(mac)
    }
}

impl fmt::Debug for MarkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MarkKey")
    }
}

/// The marks of one object: its group, kind, namespace and name are hashed already.
pub(super) struct ObjectMarks(Hmac<Sha256>);

impl ObjectMarks {
    /// The mark of a value.
    pub(super) fn mark(&self, path: &str, value: &[u8]) -> u64 {
        let mut mac = self.0.clone();
        update(&mut mac, path.as_bytes());
        update(&mut mac, value);
        first_bits(mac)
    }
}

/// Hashes a part with its length, so that parts cannot be shifted against each other.
fn update(mac: &mut Hmac<Sha256>, part: &[u8]) {
    mac.update(&(part.len() as u64).to_be_bytes());
    mac.update(part);
}

fn first_bits(mac: Hmac<Sha256>) -> u64 {
    let bytes = mac.finalize().into_bytes();
    bytes[..8]
        .iter()
        .fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_hmac_sha_256() {
        // RFC 4231, test case 2, whose key is shorter than a block.
        let mut secret = [0; 32];
        secret[..4].copy_from_slice(b"Jefe");
        let mut mac = MarkKey::new(&secret).0;
        mac.update(b"what do ya want for nothing?");
        assert_eq!(first_bits(mac), 0x5bdc_c146_bf60_754e);
    }

    #[test]
    fn mark_depends_on_each_part() {
        let key = MarkKey::new(&[7; 32]);
        let object = ["", "ConfigMap", "shop", "settings"];
        let mark = |key: &MarkKey, object: [&str; 4], path: &str, value: &str| {
            key.object(object).mark(path, value.as_bytes())
        };
        let of = mark(&key, object, "data.a", "v");
        assert_eq!(of, mark(&key, object, "data.a", "v"));
        let others = [
            mark(&MarkKey::new(&[8; 32]), object, "data.a", "v"),
            mark(&key, ["", "ConfigMap", "shop", "other"], "data.a", "v"),
            mark(&key, ["", "ConfigMap", "shopsettings", ""], "data.a", "v"),
            mark(&key, ["x", "ConfigMap", "shop", "settings"], "data.a", "v"),
            mark(&key, object, "data.b", "v"),
            mark(&key, object, "data.av", ""),
            mark(&key, object, "data.a", "w"),
        ];
        for (n, other) in others.iter().enumerate() {
            assert_ne!(of, *other, "{n}");
        }
        assert_ne!(key.id(), MarkKey::new(&[8; 32]).id());
        assert_eq!(format!("{key:?}"), "MarkKey");
    }
}
