//! Gives each new row its key: the second of its `created_at` and an order within it.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use kube9_model::id::EventKey;
use rusqlite::Connection;

use super::statements::Counting as _;

/// Seconds whose highest key is remembered. A relist brings an hour of Events (3,600 seconds) in any order.
const SECONDS_MAX: usize = 8192;

/// The first key of a second begins below this, at random, so that ids of two clusters rarely meet.
const FIRST_BITS: u32 = 20;

/// Random hexadecimal digits; ids need to be unlike, not secret.
const HEX: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
];

/// Digits of the step after a key that was read from the table and not remembered.
const JUMP_DIGITS: u32 = 3;

/// Digits that are drawn at once: each draw seeds a generator from the operating system, which took a microsecond a row.
const DIGITS_DRAWN: usize = 1024;

/// Highest key used in each second that was asked for lately.
#[derive(Debug, Default)]
pub struct Keys {
    highest: HashMap<i64, u32, RandomState>,
    /// No row lies in a later second: most rows are the first of theirs, and need not be looked for.
    newest: Option<i64>,
    /// Whether rows of the original operator are there, which keep their ids.
    has_imported: Option<bool>,
    digits: Digits,
}

impl Keys {
    /// Forgets everything; what it knew may have been rolled back.
    pub fn clear(&mut self) {
        self.highest.clear();
        self.newest = None;
        self.has_imported = None;
    }

    /// A key that is not used yet, in this second or, when that is full, the next with room.
    /// Within a second later calls give higher keys, so that rows with the same second keep their order of arrival.
    pub fn next(&mut self, conn: &Connection, second: i64) -> rusqlite::Result<EventKey> {
        let mut second = second;
        loop {
            let remembered = self.highest.contains_key(&second);
            let low = match self.highest_in(conn, second)? {
                Some(highest) if remembered => self.step(highest, 1),
                // Rows above it may have been deleted, and an id that was shown should not soon name another row.
                Some(highest) => self.step(highest, JUMP_DIGITS),
                None => Some(self.digits.take(FIRST_BITS / 4)),
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

    /// Whether the id that a key gives is that of a row of the original operator.
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

    /// The next key after `highest`: a random step of so many digits, of 1 in the second's last eighth; `None` when full.
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

    fn highest_in(&mut self, conn: &Connection, second: i64) -> rusqlite::Result<Option<u32>> {
        if let Some(&low) = self.highest.get(&second) {
            return Ok(Some(low));
        }
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

/// Random hexadecimal digits, not used yet.
#[derive(Debug, Default)]
struct Digits(String);

impl Digits {
    /// A random number of so many digits.
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
    fn keys_of_a_second_rise_and_survive_forgetting() {
        let conn = database();
        let mut keys = Keys::default();
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
    fn full_second_runs_on_into_the_next() {
        let conn = database();
        let mut keys = Keys::default();
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
    fn key_whose_id_an_imported_row_has_is_passed_over() {
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
        let key = Keys::default().next(&conn, 10).unwrap();
        assert_eq!(key, EventKey::new(10, EventKey::LOW_MAX));
    }
}
