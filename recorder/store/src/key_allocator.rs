//! Allocates the keys of new rows: the second of `created_at` and a sequence within it.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use kube9_model::id::EventKey;
use rusqlite::Connection;

use super::statements::Counting as _;

/// Seconds whose highest key is cached. A relist returns an hour of Events (3,600 seconds) in any order.
const SECONDS_MAX: usize = 8192;

/// The first key of a second is random below this, so that ids of two clusters rarely collide.
const FIRST_BITS: u32 = 20;

/// Random hexadecimal digits; ids must differ, they are not secrets.
const HEX: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
];

/// Digits of the step after a key that was read from the table.
const JUMP_DIGITS: u32 = 3;

/// Digits per draw: each draw seeds a generator from the operating system, which took a microsecond per row.
const DIGITS_DRAWN: usize = 1024;

/// Caches the highest key of recently used seconds.
#[derive(Debug, Default)]
pub struct KeyAllocator {
    highest: HashMap<i64, u32, RandomState>,
    /// No row lies in a later second, so a later second needs no lookup.
    newest: Option<i64>,
    /// Whether there are imported rows, which keep their ids.
    has_imported: Option<bool>,
    digits: RandomPool,
}

impl KeyAllocator {
    /// Clears the cache, whose keys may have been rolled back.
    pub fn clear(&mut self) {
        self.highest.clear();
        self.newest = None;
        self.has_imported = None;
    }

    /// An unused key in this second or, if it is full, in the next one with a free key.
    /// Keys rise within a second, so that rows of the same second keep their order of arrival.
    pub fn next(&mut self, conn: &Connection, second: i64) -> rusqlite::Result<EventKey> {
        let mut second = second;
        loop {
            let low = match self.highest.get(&second).copied() {
                Some(highest) => self.step(highest, 1),
                None => match self.highest_in(conn, second)? {
                    // Rows above it may have been deleted, and their ids must not be reused soon.
                    Some(highest) => self.step(highest, JUMP_DIGITS),
                    None => Some(self.digits.take(FIRST_BITS / 4)),
                },
            };
            if let Some(low) = low {
                if self.highest.len() >= SECONDS_MAX {
                    self.highest.clear();
                }
                self.highest.insert(second, low);
                self.newest = self.newest.max(Some(second));
                let key = EventKey::new(second, low);
                if self.is_imported(conn, key)? {
                    continue;
                }
                return Ok(key);
            }
            second += 1;
        }
    }

    /// Whether an imported row has the id of this key.
    fn is_imported(&mut self, conn: &Connection, key: EventKey) -> rusqlite::Result<bool> {
        let has_imported = match self.has_imported {
            Some(has_imported) => has_imported,
            None => conn
                .counted("SELECT EXISTS (SELECT 1 FROM event WHERE imported_id IS NOT NULL)")?
                .query_row([], |row| row.get(0))?,
        };
        self.has_imported = Some(has_imported);
        if !has_imported {
            return Ok(false);
        }
        conn.counted("SELECT EXISTS (SELECT 1 FROM event WHERE imported_id = ?1)")?
            .query_row([key.to_string()], |row| row.get(0))
    }

    /// The next key after `highest`: a random step of that many digits, or 1 in the second's last eighth; `None` if full.
    fn step(&mut self, highest: u32, digits: u32) -> Option<u32> {
        let step = if highest > EventKey::LOW_MAX / 8 * 7 {
            1
        } else {
            1 + self.digits.take(digits)
        };
        highest
            .checked_add(step)
            .filter(|low| *low <= EventKey::LOW_MAX)
    }

    /// The highest key in the table.
    fn highest_in(&mut self, conn: &Connection, second: i64) -> rusqlite::Result<Option<u32>> {
        let newest = match self.newest {
            Some(newest) => newest,
            None => {
                let key: Option<i64> = conn
                    .counted("SELECT max(key) FROM event")?
                    .query_row([], |row| row.get(0))?;
                key.map_or(i64::MIN, |key| EventKey::from_i64(key).second())
            }
        };
        self.newest = Some(newest);
        if second > newest {
            return Ok(None);
        }
        let first = EventKey::new(second, 0).as_i64();
        let last = EventKey::new(second, EventKey::LOW_MAX).as_i64();
        conn.counted("SELECT max(key) FROM event WHERE key BETWEEN ?1 AND ?2")?
            .query_row((first, last), |row| row.get::<_, Option<i64>>(0))
            .map(|key| key.map(|key| EventKey::from_i64(key).low()))
    }
}

/// Unused random hexadecimal digits.
#[derive(Debug, Default)]
struct RandomPool(String);

impl RandomPool {
    /// A random number of that many digits.
    fn take(&mut self, digits: u32) -> u32 {
        if self.0.len() < digits as usize {
            self.0 = nanoid::nanoid!(DIGITS_DRAWN, &HEX);
        }
        let left = self.0.len() - digits as usize;
        let number = u32::from_str_radix(&self.0[left..], 16)
            .expect("nanoid gives characters of its alphabet only");
        self.0.truncate(left);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE event (key INTEGER PRIMARY KEY, imported_id TEXT)")
            .unwrap();
        conn
    }

    #[test]
    fn next_keys_of_a_second_rise_across_clear() {
        let conn = database();
        let mut keys = KeyAllocator::default();
        let mut last = None;
        for n in 0..2000 {
            let key = keys.next(&conn, 1_700_000_000).unwrap();
            assert!(last < Some(key), "{n}");
            conn.execute("INSERT INTO event (key) VALUES (?1)", [key.as_i64()])
                .unwrap();
            last = Some(key);
            if n % 100 == 0 {
                keys.clear();
            }
        }
    }

    #[test]
    fn next_full_second_continues_in_the_next() {
        let conn = database();
        let mut keys = KeyAllocator::default();
        conn.execute(
            "INSERT INTO event (key) VALUES (?1)",
            [EventKey::new(10, EventKey::LOW_MAX - 1).as_i64()],
        )
        .unwrap();
        assert_eq!(
            keys.next(&conn, 10).unwrap(),
            EventKey::new(10, EventKey::LOW_MAX)
        );
        assert_eq!(keys.next(&conn, 10).unwrap().second(), 11);
    }

    #[test]
    fn next_skips_ids_of_imported_rows() {
        let conn = database();
        conn.execute(
            "INSERT INTO event (key) VALUES (?1)",
            [EventKey::new(10, EventKey::LOW_MAX - 3).as_i64()],
        )
        .unwrap();
        // Steps are of 1 this high.
        for low in [EventKey::LOW_MAX - 2, EventKey::LOW_MAX - 1] {
            conn.execute(
                "INSERT INTO event VALUES (?1, ?2)",
                (i64::from(low), EventKey::new(10, low).to_string()),
            )
            .unwrap();
        }
        let key = KeyAllocator::default().next(&conn, 10).unwrap();
        assert_eq!(key, EventKey::new(10, EventKey::LOW_MAX));
    }
}
