//! Compares findings with the ground truth: missed faults and false findings.
//!
//! The bounds are generous and the same for all rules; the case tables next to the rules test the exact times.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use kube9_model::{EventType, ObjectRef, Severity};
use kube9_rules::rules;

use super::ground_truth::{Cause, GroundTruth, Planted, Relations};
use super::{MINUTE, Ms, SECOND, START};
use crate::clock::Micros;

/// The API has whole seconds, and controllers need time.
const CLOCK_TOLERANCE: Ms = 4 * SECOND;

/// A finding may still open this long after the cause was removed: the longest back-off of a kubelet, and a margin.
const OPEN_DELAY_MAX: Ms = 6 * MINUTE;

/// Longest time without a ready endpoint before it must be found, and with one before the finding must close.
const SERVICE_DELAY: Ms = 3 * MINUTE;

/// A transition of a finding, as the analysis emitted it.
#[derive(Debug, Clone)]
pub struct FindingStep {
    /// When.
    pub at: Ms,
    /// Which one.
    pub fingerprint: String,
    /// Name of its rule.
    pub rule: String,
    /// `Kind/namespace/name`, `Node/name` or `Image/name`.
    pub subject: String,
    /// Closed; otherwise opened, or more severe.
    pub closed: bool,
    /// How bad.
    pub severity: Severity,
}

impl FindingStep {
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
            // A Namespace is its own namespace.
            Some(object) if object.namespace.is_empty() || object.kind == "Namespace" => {
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

    /// Whether it assesses a manifest rather than a failure.
    fn is_assessment(&self) -> bool {
        rules::ALL
            .iter()
            .any(|rule| rule.name == self.rule && rule.event_type == EventType::Assessment)
    }
}

/// One finding from its opening to its end.
#[derive(Debug)]
struct Finding<'a> {
    opened: &'a FindingStep,
    severity: Severity,
    closed: Option<Ms>,
}

impl Finding<'_> {
    fn text(&self) -> String {
        format!(
            "{} ({}): from {} to {}",
            self.opened.fingerprint,
            self.opened.subject,
            clock(self.opened.at),
            self.closed.map_or("the end".to_owned(), clock)
        )
    }
}

/// Differences between findings and ground truth.
#[derive(Debug, Default)]
pub struct Diff {
    /// Number of planted faults.
    pub planted: usize,
    /// Number of findings.
    pub found: usize,
    /// Findings by rule.
    pub by_rule: BTreeMap<String, usize>,
    /// Planted faults and Services without endpoints that were not found, found late, or closed early.
    pub missed: Vec<String>,
    /// Findings without a planted fault.
    pub false_positives: Vec<String>,
    /// Findings that stayed open after the fault.
    pub not_closed: Vec<String>,
    /// Findings opened while open, or closed while closed.
    pub duplicates: Vec<String>,
}

fn clock(at: Ms) -> String {
    let text = Micros(at * 1000).seconds_text();
    format!("{} (+{} s)", &text.as_str()[11..19], (at - START) / SECOND)
}

/// Compares; `slack`: allowed delay relative to the ground truth.
pub fn diff(truth: &GroundTruth, found: &[FindingStep], end: Ms, slack: Ms) -> Diff {
    let mut diff = Diff {
        planted: truth.planted.len(),
        ..Diff::default()
    };
    let findings = findings(found, &mut diff);
    diff.found = findings.len();
    let relations = truth.relations();
    for finding in &findings {
        *diff.by_rule.entry(finding.opened.rule.clone()).or_default() += 1;
        let causes = truth.planted.iter();
        let causes = causes.filter(|one| can_cause(&relations, one, finding.opened));
        explain(finding, causes, end, slack, &mut diff);
    }
    for planted in &truth.planted {
        if planted.from + planted.found_within() + slack <= end
            && !findings
                .iter()
                .any(|finding| reports(&relations, planted, finding, end, slack))
        {
            diff.missed.push(format!(
                "{:?} of {}: from {} to {}",
                planted.cause,
                planted.object,
                clock(planted.from),
                clock(planted.to.min(end))
            ));
        }
    }
    services(truth, &findings, end, slack, &mut diff);
    diff
}

/// The findings; transitions that do not fit count as duplicates.
fn findings<'a>(found: &'a [FindingStep], diff: &mut Diff) -> Vec<Finding<'a>> {
    let mut findings: Vec<Finding<'a>> = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for step in found {
        let at = || format!("{} at {}", step.fingerprint, clock(step.at));
        match (step.closed, open.get(step.fingerprint.as_str()).copied()) {
            (false, None) => {
                open.insert(&step.fingerprint, findings.len());
                findings.push(Finding {
                    opened: step,
                    severity: step.severity,
                    closed: None,
                });
            }
            (false, Some(index)) => {
                let finding = &mut findings[index];
                if finding.severity == step.severity {
                    diff.duplicates.push(format!("opened twice: {}", at()));
                }
                finding.severity = step.severity;
            }
            (true, Some(index)) => {
                findings[index].closed = Some(step.at);
                open.remove(step.fingerprint.as_str());
            }
            (true, None) => diff
                .duplicates
                .push(format!("closed although not open: {}", at())),
        }
    }
    findings
}

fn can_cause(relations: &Relations<'_>, planted: &Planted, found: &FindingStep) -> bool {
    (planted.cause == Cause::Manifest) == found.is_assessment()
        && relations.shows_on(planted, &found.subject)
}

/// A finding is explained by a fault that was planted before it opened and not repaired long before it opened or
/// closed.
fn explain<'a>(
    finding: &Finding<'_>,
    causes: impl Iterator<Item = &'a Planted>,
    end: Ms,
    slack: Ms,
    diff: &mut Diff,
) {
    let opened = finding.opened.at;
    let closed = finding.closed.unwrap_or(end);
    let (mut explained, mut closes_by) = (false, Ms::MIN);
    for cause in causes.filter(|cause| cause.from - CLOCK_TOLERANCE <= closed) {
        explained |=
            cause.from - CLOCK_TOLERANCE <= opened && opened <= cause.to + OPEN_DELAY_MAX + slack;
        closes_by = closes_by.max(cause.to + cause.closed_within() + slack);
    }
    if !explained {
        diff.false_positives.push(finding.text());
    } else if closed > closes_by {
        diff.not_closed.push(finding.text());
    }
}

/// Whether a finding is open soon after the onset and until the end. For a node, it must be about the node itself.
fn reports(
    relations: &Relations<'_>,
    planted: &Planted,
    finding: &Finding<'_>,
    end: Ms,
    slack: Ms,
) -> bool {
    let opened = finding.opened.at;
    opened <= planted.from + planted.found_within() + slack
        && finding
            .closed
            .is_none_or(|closed| closed >= planted.to.min(end) - CLOCK_TOLERANCE)
        && (finding.opened.subject == planted.object || !planted.object.starts_with("Node/"))
        && can_cause(relations, planted, finding.opened)
}

/// Requires a finding for each Service without a ready endpoint, and none for the others.
fn services(truth: &GroundTruth, findings: &[Finding<'_>], end: Ms, slack: Ms, diff: &mut Diff) {
    let mut of: HashMap<&str, Vec<&Finding<'_>>> = HashMap::new();
    for finding in findings {
        let found = finding.opened;
        if found.subject.starts_with("Service/") && !found.is_assessment() {
            of.entry(&found.subject).or_default().push(finding);
        }
    }
    let open_within = |finding: &&Finding<'_>, from: Ms, to: Ms| {
        finding.opened.at <= to && finding.closed.unwrap_or(end) >= from
    };
    for (service, spans) in &truth.without_endpoint {
        let found = of.get(&**service).map_or(&[][..], Vec::as_slice);
        for (from, to) in spans
            .iter()
            .filter(|(from, to)| to - from >= SERVICE_DELAY + slack)
        {
            let by = from + SERVICE_DELAY + slack;
            if !found.iter().any(|finding| open_within(finding, *from, by)) {
                diff.missed.push(format!(
                    "{service} without a ready endpoint: from {} to {}",
                    clock(*from),
                    clock(*to)
                ));
            }
        }
    }
    for (service, findings) in of {
        let spans = truth.without_endpoint.get(service);
        let spans = spans.map_or(&[][..], Vec::as_slice);
        for finding in findings {
            let (opened, closed) = (finding.opened.at, finding.closed.unwrap_or(end));
            let has = |at: Ms, late: Ms| {
                !spans
                    .iter()
                    .any(|(from, to)| from - CLOCK_TOLERANCE <= at && at <= to + late + slack)
            };
            if has(opened, CLOCK_TOLERANCE) {
                diff.false_positives
                    .push(format!("{}, which had an endpoint", finding.text()));
            } else if has(closed, SERVICE_DELAY) {
                diff.not_closed
                    .push(format!("{}, which had an endpoint again", finding.text()));
            }
        }
    }
}

impl Diff {
    /// Whether every planted fault was found, and nothing else.
    pub fn is_clean(&self) -> bool {
        self.faults() == 0 && self.planted > 0
    }

    /// How many differences there are.
    pub fn faults(&self) -> usize {
        self.lists().iter().map(|(_, list)| list.len()).sum()
    }

    /// The differences by kind.
    pub fn lists(&self) -> [(&'static str, &Vec<String>); 4] {
        [
            ("planted and not found", &self.missed),
            ("found where nothing was wrong", &self.false_positives),
            ("not closed when it was over", &self.not_closed),
            ("opened or closed twice", &self.duplicates),
        ]
    }
}

/// Longest list of differences that is printed.
const SHOWN: usize = 40;

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} findings, {} planted", self.found, self.planted)?;
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
