//! Gives each new row its key: the second of its `created_at` and an order within it.

use std::collections::HashMap;

use kube9_shared::id::EventKey;
use rusqlite::Connection;

/// Seconds whose highest key is remembered. A relist brings an hour of Events (3,600 seconds) in any order.
const SECONDS_MAX: usize = 8192;

/// The first key of a second begins below this, at random, so that ids of two clusters rarely meet.
const FIRST_BITS: u32 = 20;

/// Random hexadecimal digits; ids need to be unlike, not secret.
const HEX: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
];

/// Highest key used in each second that was asked for lately.
#[derive(Debug, Default)]
pub struct Keys {
    highest: HashMap<i64, u32>,
}

impl Keys {
    /// Forgets everything; what it knew may have been rolled back.
    pub fn clear(&mut self) {
        self.highest.clear();
    }

    /// A key that is not used yet, in this second or, when that is full, the next with room.
    /// Within a second later calls give higher keys, so that rows with the same second keep their order of arrival.
    pub fn next(&mut self, conn: &Connection, second: i64) -> rusqlite::Result<EventKey> {
        let mut second = second;
        loop {
            let low = match self.highest_in(conn, second)? {
                Some(highest) => step(highest),
                None => Some(random(FIRST_BITS / 4)),
            };
            if let Some(low) = low {
                if self.highest.len() >= SECONDS_MAX {
                    self.highest.clear();
                }
                self.highest.insert(second, low);
                return Ok(EventKey::new(second, low));
            }
            second += 1;
        }
    }

    fn highest_in(&self, conn: &Connection, second: i64) -> rusqlite::Result<Option<u32>> {
        if let Some(&low) = self.highest.get(&second) {
            return Ok(Some(low));
        }
        let first = EventKey::new(second, 0).as_i64();
        let last = EventKey::new(second, EventKey::LOW_MAX).as_i64();
        conn.prepare_cached("SELECT max(key) FROM event WHERE key BETWEEN ?1 AND ?2")?
            .query_row((first, last), |row| row.get::<_, Option<i64>>(0))
            .map(|key| key.map(|key| EventKey::from_i64(key).low()))
    }
}

/// The next key after `highest`: a small random step, a step of 1 in the second's last eighth; `None` when full.
fn step(highest: u32) -> Option<u32> {
    let step = if highest > EventKey::LOW_MAX / 8 * 7 {
        1
    } else {
        1 + random(1)
    };
    highest
        .checked_add(step)
        .filter(|low| *low <= EventKey::LOW_MAX)
}

fn random(hex_digits: u32) -> u32 {
    let text = nanoid::nanoid!(hex_digits as usize, &HEX);
    u32::from_str_radix(&text, 16).expect("nanoid gives characters of its alphabet only")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE event (key INTEGER PRIMARY KEY)")
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
            conn.execute("INSERT INTO event VALUES (?1)", [key.as_i64()])
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
        keys.highest.insert(10, EventKey::LOW_MAX - 1);
        assert_eq!(
            keys.next(&conn, 10).unwrap(),
            EventKey::new(10, EventKey::LOW_MAX)
        );
        assert_eq!(keys.next(&conn, 10).unwrap().second(), 11);
    }
}
