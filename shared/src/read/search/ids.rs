//! Sets of ids.

use super::super::ReadError;

/// A set of ids that lie close together: bits in blocks, so that a hundred thousand ids take some tens of kilobytes.
#[derive(Debug, Default)]
pub(super) struct IdSet {
    /// Number of the first block.
    first: u64,
    blocks: Vec<Option<Box<[u64; Self::BLOCK_WORDS]>>>,
}

impl IdSet {
    const BLOCK_WORDS: usize = 64;
    const BLOCK_IDS: u64 = 64 * Self::BLOCK_WORDS as u64;
    /// Blocks from the first to the last: 4 billion ids, which are given one by one to names that are kept for a month.
    /// What lies further apart is not an id but damage.
    const BLOCKS_MAX: u64 = 1 << 20;

    /// # Errors
    /// The id cannot be one: the file is damaged.
    pub(super) fn insert(&mut self, id: i64) -> Result<(), ReadError> {
        let (number, word, bit) = Self::place(id).ok_or(ReadError::INCONSISTENT)?;
        if self.blocks.is_empty() {
            self.first = number;
        }
        let (first, last) = (
            self.first.min(number),
            number.max(self.first + self.blocks.len() as u64),
        );
        if last - first > Self::BLOCKS_MAX {
            return Err(ReadError::INCONSISTENT);
        }
        if number < self.first {
            let missing = (self.first - number) as usize;
            self.blocks
                .splice(0..0, std::iter::repeat_with(|| None).take(missing));
            self.first = number;
        }
        let block = (number - self.first) as usize;
        if block >= self.blocks.len() {
            self.blocks.resize(block + 1, None);
        }
        self.blocks[block].get_or_insert_with(|| Box::new([0; Self::BLOCK_WORDS]))[word] |=
            1 << bit;
        Ok(())
    }

    pub(super) fn has(&self, id: i64) -> bool {
        Self::place(id).is_some_and(|(number, word, bit)| {
            number
                .checked_sub(self.first)
                .and_then(|block| self.blocks.get(usize::try_from(block).ok()?))
                .and_then(Option::as_ref)
                .is_some_and(|words| words[word] >> bit & 1 == 1)
        })
    }

    /// Number of the block, word and bit. Ids are positive and rise by one a row, so blocks stay few.
    fn place(id: i64) -> Option<(u64, usize, u32)> {
        let id = u64::try_from(id).ok()?;
        let within = id % Self::BLOCK_IDS;
        Some((
            id / Self::BLOCK_IDS,
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
        for first in [0, 1 << 40] {
            let mut set = IdSet::default();
            let ids = [4096, 4095, 1, 63, 64, 1_000_000].map(|id| first + id);
            ids.iter().for_each(|&id| set.insert(id).unwrap());
            assert!(ids.iter().all(|&id| set.has(id)));
            assert!(
                ![0, 2, 65, 4097, 999_999]
                    .iter()
                    .any(|&id| set.has(first + id))
            );
            assert!(!set.has(i64::MAX) && !set.has(-1));
        }
    }

    /// A damaged page asked for 58 TB.
    #[test]
    fn id_far_from_the_others_is_damage_and_takes_no_memory() {
        let mut set = IdSet::default();
        set.insert(7).unwrap();
        for id in [i64::MAX, -1, 1 << 50] {
            assert!(matches!(set.insert(id), Err(ReadError::Corrupt(_))));
        }
        assert_eq!(set.blocks.len(), 1);
    }
}
