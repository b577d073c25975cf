//! Sets of ids.

/// A set of ids that lie close together: bits in blocks, so that a hundred thousand ids take some tens of kilobytes.
#[derive(Debug, Default)]
pub(super) struct IdSet {
    blocks: Vec<Option<Box<[u64; Self::BLOCK_WORDS]>>>,
}

impl IdSet {
    const BLOCK_WORDS: usize = 64;
    const BLOCK_IDS: u64 = 64 * Self::BLOCK_WORDS as u64;

    pub(super) fn insert(&mut self, id: i64) {
        let Some((block, word, bit)) = Self::place(id) else {
            return;
        };
        if block >= self.blocks.len() {
            self.blocks.resize(block + 1, None);
        }
        self.blocks[block].get_or_insert_with(|| Box::new([0; Self::BLOCK_WORDS]))[word] |=
            1 << bit;
    }

    pub(super) fn has(&self, id: i64) -> bool {
        Self::place(id).is_some_and(|(block, word, bit)| {
            self.blocks
                .get(block)
                .and_then(Option::as_ref)
                .is_some_and(|words| words[word] >> bit & 1 == 1)
        })
    }

    /// Block, word and bit. Ids are positive and rise by one a row, so blocks stay few.
    fn place(id: i64) -> Option<(usize, usize, u32)> {
        let id = u64::try_from(id).ok()?;
        let within = id % Self::BLOCK_IDS;
        Some((
            usize::try_from(id / Self::BLOCK_IDS).ok()?,
            (within / 64) as usize,
            (within % 64) as u32,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_has_what_was_put_in() {
        let mut set = IdSet::default();
        let ids = [1, 63, 64, 4095, 4096, 1_000_000];
        ids.iter().for_each(|&id| set.insert(id));
        assert!(ids.iter().all(|&id| set.has(id)));
        assert!(
            ![0, 2, 65, 4097, 999_999, i64::MAX, -1]
                .iter()
                .any(|&id| set.has(id))
        );
    }
}
