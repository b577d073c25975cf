//! What was found beside what must have been found.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use kube9_shared::model::{ObjectRef, Severity};

use super::truth::Expected;
use super::{MORNING, Ms, SECOND};
use crate::clock::Micros;

/// A step in the life of a finding, as it came out of the analysis.
#[derive(Debug, Clone)]
pub struct Found {
    /// When.
    pub at: Ms,
    /// Which one.
    pub fingerprint: String,
    /// Number of its rule.
    pub rule: String,
    /// `Kind/namespace/name`, `Node/name` or `Image/name`.
    pub subject: String,
    /// It is over; else it is new, or worse.
    pub closed: bool,
    /// How bad.
    pub severity: Severity,
}

impl Found {
    /// From the parts of a finding's row.
    pub fn new(
        at: Ms,
        fingerprint: &str,
        object: Option<&ObjectRef>,
        closed: bool,
        severity: Severity,
    ) -> Self {
        let (rule, rest) = fingerprint.split_once('/').unwrap_or((fingerprint, ""));
        let subject = match object {
            Some(object) if object.namespace.is_empty() => {
                format!("{}/{}", object.kind, object.name)
            }
            Some(object) => format!("{}/{}/{}", object.kind, object.namespace, object.name),
            None => format!("Image/{}", rest.strip_suffix('/').unwrap_or(rest)),
        };
        Self {
            at,
            fingerprint: fingerprint.to_owned(),
            rule: rule.to_owned(),
            subject,
            closed,
            severity,
        }
    }
}

/// One finding from its opening to its end.
#[derive(Debug)]
struct Life {
    found: Found,
    /// When it got another severity, and which.
    changes: Vec<(Ms, Severity)>,
    closed: Option<Ms>,
    taken: bool,
}

/// What a comparison says.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Findings that had to be there.
    pub expected: usize,
    /// Of them, those that lasted about as long as the rule waits, where either is right.
    pub close_calls: usize,
    /// Findings that were there.
    pub found: usize,
    /// Findings by rule.
    pub by_rule: BTreeMap<String, usize>,
    /// Had to be there, and were not.
    pub missed: Vec<String>,
    /// Were there, and had not to be.
    pub unexpected: Vec<String>,
    /// Opened while they were open, or closed while they were not.
    pub doubled: Vec<String>,
    /// Still open after the repair, or closed before it.
    pub closed_wrongly: Vec<String>,
    /// Of another severity than they should be.
    pub misjudged: Vec<String>,
}

fn clock(at: Ms) -> String {
    let text = Micros(at * 1000).seconds_text();
    format!(
        "{} (+{} s)",
        &text.as_str()[11..19],
        (at - MORNING) / SECOND
    )
}

/// Compares; `slack`: how much later than in the truth things may be seen.
pub fn judge(expected: &[Expected], found: &[Found], slack: Ms) -> Verdict {
    let mut verdict = Verdict {
        expected: expected.len(),
        ..Verdict::default()
    };
    let mut lives = lives(found, &mut verdict);
    verdict.found = lives.len();
    let mut by_subject: HashMap<(String, String), Vec<usize>> = HashMap::new();
    for (index, life) in lives.iter().enumerate() {
        *verdict.by_rule.entry(life.found.rule.clone()).or_default() += 1;
        let key = (life.found.rule.clone(), life.found.subject.clone());
        by_subject.entry(key).or_default().push(index);
    }
    for one in expected {
        verdict.close_calls += usize::from(one.close_call);
        let key = (one.rule.to_owned(), one.subject.clone());
        let fits = |life: &Life| {
            let part = life
                .found
                .fingerprint
                .rsplit('/')
                .next()
                .unwrap_or_default();
            let at = life.found.at;
            !life.taken
                && (one.part == "*" || one.part == part)
                && at >= one.opens.0 - SECOND
                && at <= one.opens.1 + slack
        };
        let candidates = by_subject.get(&key).map_or(&[][..], Vec::as_slice);
        let Some(index) = candidates
            .iter()
            .copied()
            .find(|index| fits(&lives[*index]))
        else {
            if !one.close_call {
                verdict.missed.push(format!(
                    "{} {} {}: between {} and {}, until {}",
                    one.rule,
                    one.subject,
                    one.part,
                    clock(one.opens.0),
                    clock(one.opens.1),
                    one.closes
                        .map_or("the evening".to_owned(), |(_, to)| clock(to)),
                ));
            }
            continue;
        };
        let life = &mut lives[index];
        life.taken = true;
        compare(one, life, slack, &mut verdict);
    }
    for life in lives.iter().filter(|life| !life.taken) {
        verdict.unexpected.push(format!(
            "{} ({}): from {} to {}",
            life.found.fingerprint,
            life.found.subject,
            clock(life.found.at),
            life.closed.map_or("the evening".to_owned(), clock)
        ));
    }
    verdict
}

fn lives(found: &[Found], verdict: &mut Verdict) -> Vec<Life> {
    let mut lives: Vec<Life> = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for step in found {
        let at = || format!("{} at {}", step.fingerprint, clock(step.at));
        match (step.closed, open.get(step.fingerprint.as_str()).copied()) {
            (false, None) => {
                open.insert(&step.fingerprint, lives.len());
                lives.push(Life {
                    found: step.clone(),
                    changes: Vec::new(),
                    closed: None,
                    taken: false,
                });
            }
            (false, Some(index)) => {
                let life = &mut lives[index];
                let last = life
                    .changes
                    .last()
                    .map_or(life.found.severity, |(_, severity)| *severity);
                if last == step.severity {
                    verdict.doubled.push(format!("opened twice: {}", at()));
                }
                life.changes.push((step.at, step.severity));
            }
            (true, Some(index)) => {
                lives[index].closed = Some(step.at);
                open.remove(step.fingerprint.as_str());
            }
            (true, None) => verdict
                .doubled
                .push(format!("closed although not open: {}", at())),
        }
    }
    lives
}

fn compare(one: &Expected, life: &Life, slack: Ms, verdict: &mut Verdict) {
    let name = || {
        format!(
            "{} {} {}, opened at {}",
            one.rule,
            one.subject,
            one.part,
            clock(life.found.at)
        )
    };
    match (one.closes, life.closed) {
        (None, None) => {}
        (Some((from, to)), Some(at)) if at >= from - SECOND && at <= to + slack => {}
        (wanted, closed) => {
            let wanted = wanted.map_or("in the evening still open".to_owned(), |(from, to)| {
                format!("to be closed between {} and {}", clock(from), clock(to))
            });
            let closed = closed.map_or("never closed".to_owned(), |at| {
                format!("closed at {}", clock(at))
            });
            if !one.close_call {
                verdict
                    .closed_wrongly
                    .push(format!("{}: {wanted}, {closed}", name()));
            }
        }
    }
    if life.found.severity != one.severity {
        verdict.misjudged.push(format!(
            "{}: {} instead of {}",
            name(),
            life.found.severity,
            one.severity
        ));
    }
    let critical = life
        .changes
        .iter()
        .find(|(_, severity)| *severity == Severity::Critical)
        .map(|(at, _)| *at);
    match (one.worse, critical) {
        (Some(wanted), Some(at)) if at >= wanted - SECOND && at <= wanted + 8 * SECOND + slack => {}
        (None, None) => {}
        // Rules whose severity follows the number of pods may change it at any time.
        (None, Some(_)) if one.rule == "H15" => {}
        (wanted, at) => verdict.misjudged.push(format!(
            "{}: critical from {} instead of {}",
            name(),
            at.map_or("never".to_owned(), clock),
            wanted.map_or("never".to_owned(), clock)
        )),
    }
}

impl Verdict {
    /// Whether everything was as it had to be.
    pub fn is_clean(&self) -> bool {
        self.faults() == 0 && self.expected > 0
    }

    /// How many differences there are.
    pub fn faults(&self) -> usize {
        self.lists().iter().map(|(_, list)| list.len()).sum()
    }

    /// The differences, by what kind of difference it is.
    pub fn lists(&self) -> [(&'static str, &Vec<String>); 5] {
        [
            ("missed", &self.missed),
            ("unexpected", &self.unexpected),
            ("doubled", &self.doubled),
            ("not closed when it was over", &self.closed_wrongly),
            ("of another severity", &self.misjudged),
        ]
    }
}

/// Longest list of differences that is printed.
const SHOWN: usize = 40;

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} findings, {} expected ({} close calls)",
            self.found, self.expected, self.close_calls
        )?;
        let rules: Vec<String> = self
            .by_rule
            .iter()
            .map(|(rule, count)| format!("{rule} {count}"))
            .collect();
        writeln!(f, "by rule: {}", rules.join(", "))?;
        for (what, list) in self.lists() {
            writeln!(f, "{what}: {}", list.len())?;
            list.iter()
                .take(SHOWN)
                .try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        Ok(())
    }
}
