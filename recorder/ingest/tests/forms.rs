//! How many forms of secrets the redaction hides, and how many benign sentences it changes, by group.
//!
//! `cargo test -p kube9-ingest --test library forms -- --nocapture` prints the rates and what is not right.
//! The tables hold no secret: placeholders are filled with values made here, from a seed.

// The rates are what it prints.
#![allow(clippy::print_stdout)]

use kube9_ingest::redact::{REDACTED, redact, redact_with};

const SECRET_FORMS: &str = include_str!("data/secret-forms.txt");
const BENIGN: &str = include_str!("data/benign.txt");
const HELD_OUT_FORMS: &str = include_str!("data/held-out-forms.txt");
const HELD_OUT_BENIGN: &str = include_str!("data/held-out-benign.txt");

/// Each form is filled with so many different values.
const SEEDS: u64 = 5;
/// So many characters of a secret in a row are a leak.
const FRAGMENT: usize = 8;

/// SplitMix64, so that a seed gives the same values everywhere.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    fn of(&mut self, alphabet: &str, length: usize) -> String {
        let alphabet = alphabet.as_bytes();
        let one = |rng: &mut Self| char::from(alphabet[rng.below(alphabet.len())]);
        (0..length).map(|_| one(self)).collect()
    }

    /// A value of a class: `alnum 24`, `hex 40`, `uuid`, `basic 16`.
    fn value(&mut self, spec: &str) -> String {
        const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
        let (class, length) = spec.split_once(' ').unwrap_or((spec, "0"));
        let length: usize = length.parse().expect("a length");
        let alnum = format!("{UPPER}{LOWER}0123456789");
        match class {
            "digits" => self.of("123456789", length),
            "hex" => self.of("0123456789abcdef", length),
            "lower" => self.mixed(&format!("{LOWER}0123456789"), length),
            "upper" => self.of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", length),
            "letters" => self.of(&format!("{UPPER}{LOWER}"), length),
            "alnum" => self.mixed(&alnum, length),
            "base64" => self.mixed(&format!("{alnum}+/"), length),
            "base64url" => self.mixed(&format!("{alnum}-_"), length),
            "special" => self.mixed(&format!("{alnum}!#%*_.-+"), length),
            "uuid" => [8, 4, 4, 4, 12]
                .map(|part| self.of("0123456789abcdef", part))
                .join("-"),
            "basic" => base64(&format!("user:{}", self.mixed(&alnum, length))),
            _ => panic!("no such class: {class}"),
        }
    }

    /// A value that begins with a letter and, where it is long enough, has a character of every sort.
    fn mixed(&mut self, alphabet: &str, length: usize) -> String {
        loop {
            let made = self.of(alphabet, length);
            let sort = |which: fn(&u8) -> bool| {
                length < 6
                    || !alphabet.bytes().any(|b| which(&b))
                    || made.bytes().any(|b| which(&b))
            };
            if made.as_bytes()[0].is_ascii_alphabetic()
                && sort(u8::is_ascii_uppercase)
                && sort(u8::is_ascii_lowercase)
                && sort(u8::is_ascii_digit)
            {
                return made;
            }
        }
    }
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |chunk: &[u8]| {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, b| bits << 8 | u32::from(*b))
            << (8 * (3 - chunk.len()));
        let digit = |i: usize| char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63]);
        (0..4)
            .map(|i| if i <= chunk.len() { digit(i) } else { '=' })
            .collect::<String>()
    };
    text.as_bytes().chunks(3).map(encode).collect()
}

/// The lines of a table with the heading that each stands under.
fn lines(table: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut heading = "";
    table.lines().filter_map(move |line| {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
            && !name.contains(['"', '<'])
        {
            heading = name;
            return None;
        }
        (!line.is_empty() && line != "#" && !line.starts_with("# ")).then_some((heading, line))
    })
}

/// The text of a line, and the secrets that were put into it.
fn fill(line: &str, rng: &mut Rng) -> (String, Vec<String>) {
    let (mut text, mut secrets, mut rest) = (String::new(), Vec::new(), line);
    while let Some((before, after)) = rest.split_once("<<") {
        // `<<<`: the placeholder begins at the last two.
        let extra = after.len() - after.trim_start_matches('<').len();
        let after = &after[extra..];
        let (spec, behind) = after.split_once(">>").expect("a placeholder ends");
        text += before;
        text += &"<".repeat(extra);
        let plain = spec.strip_prefix("value ");
        let made = rng.value(plain.unwrap_or(spec));
        text += &made;
        if plain.is_none() {
            secrets.push(made);
        }
        rest = behind;
    }
    text += rest;
    let mut out = String::new();
    let mut rest = text.replace('⏎', "\n");
    while let Some((before, after)) = rest.split_once('⟨') {
        let (code, behind) = after.split_once('⟩').expect("a code ends");
        out += before;
        out.extend(u32::from_str_radix(code, 16).ok().and_then(char::from_u32));
        rest = behind.to_owned();
    }
    (out + &rest, secrets)
}

fn shows(secret: &str, text: &str) -> bool {
    let (secret, text) = (secret.to_ascii_lowercase(), text.to_ascii_lowercase());
    let size = FRAGMENT.min(secret.len());
    (0..=secret.len() - size).any(|from| text.contains(&secret[from..from + size]))
}

/// Counts by group, and prints them.
#[derive(Default)]
struct Rates(Vec<(String, u64, u64)>);

impl Rates {
    fn count(&mut self, group: &str, right: bool) {
        if self.0.last().is_none_or(|(name, ..)| name != group) {
            self.0.push((group.to_owned(), 0, 0));
        }
        if let Some((_, of, all)) = self.0.last_mut() {
            *of += u64::from(right);
            *all += 1;
        }
    }

    fn print(&self, title: &str) -> f64 {
        let (of, all) = self
            .0
            .iter()
            .fold((0, 0), |(of, all), g| (of + g.1, all + g.2));
        for (group, of, all) in &self.0 {
            println!("{:6.1} %  {group}", 100.0 * *of as f64 / *all as f64);
        }
        let rate = of as f64 / all as f64;
        println!(
            "{:6.1} %  {title}: {} of {} lines",
            100.0 * rate,
            of / SEEDS,
            all / SEEDS
        );
        rate
    }
}

/// The share of a table's forms that are hidden; prints the rates and what is shown.
fn hidden(table: &str) -> f64 {
    let mut rates = Rates::default();
    for (group, line) in lines(table) {
        let mut leaked = 0;
        for seed in 0..SEEDS {
            let (text, secrets) = fill(line, &mut Rng(seed << 32 | line.len() as u64));
            let redacted = redact(&text);
            assert_eq!(redact(&redacted), redacted, "twice: {line}");
            let hidden =
                !secrets.is_empty() && !secrets.iter().any(|secret| shows(secret, &redacted));
            rates.count(group, hidden);
            leaked += u64::from(!hidden);
        }
        if leaked > 0 {
            println!("shown {leaked}/{SEEDS}  {line}");
        }
    }
    rates.print("hidden")
}

/// The share of a table's sentences that stay word for word; prints the rates and what is changed.
fn share_unchanged(table: &str) -> f64 {
    let mut rates = Rates::default();
    for (group, line) in lines(table) {
        let mut changed = None;
        for seed in 0..SEEDS {
            let (text, _) = fill(line, &mut Rng(seed << 32 | line.len() as u64));
            let redacted = redact(&text).into_owned();
            rates.count(group, redacted == text);
            changed = changed.or((redacted != text).then_some(redacted));
        }
        if let Some(changed) = changed {
            println!("changed  {line}\n     to  {changed}");
        }
    }
    rates.print("kept")
}

#[test]
fn secret_forms_are_hidden() {
    assert!(lines(SECRET_FORMS).count() >= 300);
    assert!(hidden(SECRET_FORMS) >= 0.99);
}

#[test]
fn benign_sentences_stay() {
    assert!(lines(BENIGN).count() >= 300);
    assert!(share_unchanged(BENIGN) >= 1.0);
}

/// What the recogniser was not made for.
#[test]
fn held_out_forms_are_hidden() {
    assert!(hidden(HELD_OUT_FORMS) >= 0.96);
}

#[test]
fn held_out_sentences_stay() {
    assert!(share_unchanged(HELD_OUT_BENIGN) >= 0.99);
}

/// With marks the same is hidden, nothing else is lost, and the marks stay when the text is redacted again.
#[test]
fn marks_replace_what_is_hidden() {
    for (_, line) in lines(SECRET_FORMS).chain(lines(HELD_OUT_FORMS)) {
        let (text, _) = fill(line, &mut Rng(line.len() as u64));
        let redacted = redact(&text);
        assert_eq!(
            redact_with(&text, |_| REDACTED.to_owned()),
            redacted,
            "{line}"
        );
        let mut secrets = Vec::new();
        let marked = redact_with(&text, |secret| {
            secrets.push(secret.to_owned());
            format!("[REDACTED #{:016x}]", secrets.len())
        });
        let mark = |n: usize| format!("[REDACTED #{:016x}]", n + 1);
        let restored = (0..secrets.len()).fold(marked.clone().into_owned(), |text, n| {
            text.replace(&mark(n), &secrets[n])
        });
        assert_eq!(restored, text, "{line}");
        assert_eq!(redact(&marked), marked, "{line}");
    }
}
