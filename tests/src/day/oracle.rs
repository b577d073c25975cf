//! docs/rules.md, applied to what was so: which finding must be open from when to when.
//!
//! Written from the documentation and from what an engineer on call wants, not from the rules' code.

use std::collections::{BTreeMap, BTreeSet};

use kube9_shared::model::Severity;

use super::truth::{Expected, HabitSpan, Sign, Span, Truth};
use super::{HOUR, MINUTE, MORNING, Ms, SECOND};

/// `analysis.thresholds`, as they are by default.
const EXIT: Ms = 20 * SECOND;
const IMAGE_PULL: Ms = 60 * SECOND;
const AFTER_CHANGE: Ms = 10 * MINUTE;
const RECOVERY: Ms = 60 * SECOND;
const ASSESSMENT: Ms = 30 * SECOND;

/// Differences of whole seconds and of the controllers' own haste.
const HASTE: Ms = 4 * SECOND;

/// All that must be found on a day.
pub(super) fn expected(truth: &Truth, morning: Ms, evening: Ms) -> Vec<Expected> {
    let mut all = Vec::new();
    let mut held = |rule, sign, hold, recovery, severity, part: &str| {
        for span in merged(truth, sign, hold, recovery) {
            push(
                &mut all,
                rule,
                span.who.subject.clone(),
                part,
                severity,
                &span,
                hold,
                recovery,
            );
        }
    };
    held("H1", Sign::Killed, 0, 0, Severity::Error, "app");
    held("H2", Sign::Loops, 0, 0, Severity::Error, "app");
    held("H3", Sign::ExitedOnce, EXIT, 0, Severity::Warning, "app");
    held("H3", Sign::FailedForGood, 0, 0, Severity::Error, "app");
    held("H4", Sign::Pull, IMAGE_PULL, 0, Severity::Error, "app");
    held("H5", Sign::Config, 0, 0, Severity::Error, "app");
    held("H6", Sign::NoNode, 5 * MINUTE, 0, Severity::Error, "");
    held("H7", Sign::Creating, 10 * MINUTE, 0, Severity::Warning, "");
    held("H8", Sign::Unready, 15 * MINUTE, 0, Severity::Warning, "");
    held(
        "H9",
        Sign::Terminating,
        5 * MINUTE,
        0,
        Severity::Warning,
        "",
    );
    held("H10", Sign::Evicted, 0, 0, Severity::Warning, "");
    held("H11", Sign::NodeDown, 0, 0, Severity::Error, "");
    held(
        "H12",
        Sign::Pressure,
        0,
        0,
        Severity::Error,
        "MemoryPressure",
    );
    held(
        "H13",
        Sign::Problem,
        0,
        0,
        Severity::Error,
        "KernelDeadlock",
    );
    held("H14", Sign::Exceeded, 0, 0, Severity::Error, "");
    held(
        "H15",
        Sign::Unavailable,
        5 * MINUTE,
        RECOVERY,
        Severity::Error,
        "",
    );
    held("H16", Sign::Refused, 0, 0, Severity::Error, "");
    held("H17", Sign::NoPods, MINUTE, 0, Severity::Info, "");
    held(
        "H18",
        Sign::NoneReady,
        MINUTE,
        RECOVERY,
        Severity::Critical,
        "",
    );
    for one in &mut all {
        // Five minutes without a node are worse than one.
        if one.rule == "H11" {
            let critical = one.opens.0 + 5 * MINUTE;
            one.worse = one
                .closes
                .is_none_or(|(from, _)| critical < from)
                .then_some(critical);
        }
    }
    insights(truth, &mut all);
    truth
        .habits
        .iter()
        .for_each(|habit| assess(habit, morning, &mut all));
    all.retain(|one| one.opens.0 < evening);
    for one in &mut all {
        if one.closes.is_some_and(|(from, _)| from >= evening) {
            one.closes = None;
        }
    }
    all
}

/// The spans of a sign; those of one subject that are interrupted for less than `recovery` are one, if open by then.
fn merged(truth: &Truth, sign: Sign, hold: Ms, recovery: Ms) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for span in truth.spans.iter().filter(|span| span.sign == sign) {
        let joins = spans
            .iter_mut()
            .rev()
            .find(|last| last.who.subject == span.who.subject);
        match joins {
            Some(last)
                if recovery > 0
                    && span.from - last.end() < recovery
                    && last.end() - last.from >= hold =>
            {
                last.to = span.to;
                last.worst.extend(span.worst.iter().copied());
            }
            _ => spans.push(span.clone()),
        }
    }
    spans
}

#[expect(clippy::too_many_arguments, reason = "a row of a table")]
fn push(
    all: &mut Vec<Expected>,
    rule: &'static str,
    subject: String,
    part: &str,
    severity: Severity,
    span: &Span,
    hold: Ms,
    recovery: Ms,
) {
    let opens = (span.since + hold).max(span.from);
    let lasted = span.end() - opens;
    // What lasts a second less than the rule waits is nobody's concern.
    if lasted < -HASTE || (hold == 0 && lasted < 0) {
        return;
    }
    let level = span
        .worst
        .iter()
        .rev()
        .find(|(at, _)| *at <= opens + HASTE)
        .is_some_and(|(_, worst)| *worst);
    let severity = match (rule, level) {
        ("H15", true) => Severity::Critical,
        ("H17", true) => Severity::Error,
        _ => severity,
    };
    // What was so in the morning may have been seen before, by a recorder that had listed everything by then.
    let earliest = if span.from == MORNING { MORNING } else { opens };
    all.push(Expected {
        rule,
        subject,
        part: part.to_owned(),
        opens: (earliest - HASTE, opens + HASTE),
        severity,
        worse: None,
        closes: span.to.map(|to| (to - HASTE, to + recovery + HASTE)),
        close_call: hold > 0 && lasted < HASTE,
    });
}

/// From when to when at least `open` of these spans were so, and then `keep`.
fn together<K: Ord>(
    spans: &[&Span],
    key: impl Fn(&Span) -> K,
    open: usize,
    keep: usize,
) -> Vec<(Ms, Ms)> {
    let mut edges: Vec<(Ms, bool, usize)> = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        edges.push((span.from, true, index));
        edges.push((span.end(), false, index));
    }
    edges.sort_by_key(|edge| (edge.0, edge.1));
    let (mut so, mut found, mut since) = (BTreeSet::new(), Vec::new(), None);
    for (at, on, index) in edges {
        if on {
            so.insert(index);
        } else {
            so.remove(&index);
        }
        let keys: BTreeSet<K> = so.iter().map(|index| key(spans[*index])).collect();
        match since {
            None if keys.len() >= open => since = Some(at),
            Some(from) if keys.len() < keep => {
                found.push((from, at));
                since = None;
            }
            _ => {}
        }
    }
    found
}

fn by<'a>(
    truth: &'a Truth,
    signs: &[Sign],
    key: impl Fn(&Span) -> String,
) -> BTreeMap<String, Vec<&'a Span>> {
    let mut groups: BTreeMap<String, Vec<&Span>> = BTreeMap::new();
    for span in truth.spans.iter().filter(|span| signs.contains(&span.sign)) {
        groups.entry(key(span)).or_default().push(span);
    }
    groups
}

struct Insight<'a> {
    rule: &'static str,
    subject: &'a str,
    part: &'a str,
}

const fn insight<'a>(rule: &'static str, subject: &'a str, part: &'a str) -> Insight<'a> {
    Insight {
        rule,
        subject,
        part,
    }
}

fn add(all: &mut Vec<Expected>, of: Insight<'_>, from: Ms, to: Ms, slack: Ms) {
    all.push(Expected {
        rule: of.rule,
        subject: of.subject.to_owned(),
        part: of.part.to_owned(),
        opens: (from - HASTE, from + HASTE),
        severity: Severity::Error,
        worse: None,
        closes: (to < Ms::MAX).then_some((to - HASTE, to.saturating_add(slack + HASTE))),
        close_call: to - from < HASTE,
    });
}

fn insights(truth: &Truth, all: &mut Vec<Expected>) {
    same_failure(truth, all);
    after_change(truth, all);
    images(truth, all);
    for (owner, kills) in &truth.ooms {
        // The third within an hour; over an hour after the last.
        let third = kills
            .iter()
            .zip(kills.iter().skip(2))
            .find(|(first, third)| **third - **first < HOUR);
        if let (Some((_, third)), Some(last)) = (third, kills.last()) {
            add(all, insight("I3", owner, "app"), *third, last + HOUR, 0);
        }
    }
    for (node, flips) in &truth.flips {
        let fourth = flips
            .iter()
            .zip(flips.iter().skip(3))
            .find(|(first, fourth)| **fourth - **first < HOUR);
        if let (Some((_, fourth)), Some(last)) = (fourth, flips.last()) {
            add(all, insight("I4", node, ""), *fourth, last + HOUR / 2, 0);
        }
    }
    for (owner, spans) in by(truth, &[Sign::NoNode], |span| span.who.owner.clone()) {
        for (_, to) in together(&spans, |span| span.who.subject.clone(), 2, 2) {
            let first = spans
                .iter()
                .filter(|span| span.end() >= to)
                .map(|span| span.from)
                .min();
            let opens = first.unwrap_or(to) + 5 * MINUTE;
            if opens < to {
                add(all, insight("I7", &owner, "*"), opens, to, 0);
            }
        }
    }
    for (node, spans) in by(truth, &[Sign::NodeFull], |span| span.who.node.clone()) {
        for (from, to) in together(&spans, |span| span.who.subject.clone(), 1, 1) {
            add(
                all,
                insight("I8", &format!("Node/{node}"), "CPU"),
                from,
                to,
                0,
            );
            if let Some(last) = all.last_mut() {
                last.severity = Severity::Warning;
            }
        }
    }
}

/// Pods that fail in one way. What cannot be pulled counts once it counts for the pod (H4).
fn failing(truth: &Truth, signs: &[Sign]) -> Vec<Span> {
    let spans = truth.spans.iter().filter(|span| signs.contains(&span.sign));
    let mut late: Vec<Span> = spans.cloned().collect();
    for span in late.iter_mut().filter(|span| span.sign == Sign::Pull) {
        span.from += IMAGE_PULL;
    }
    late.retain(|span| span.from < span.end());
    late
}

fn same_failure(truth: &Truth, all: &mut Vec<Expected>) {
    let oom = |span: &Span| span.worst.first().is_some_and(|(_, oom)| *oom);
    for (way, signs) in [
        ("image_pull", &[Sign::Pull][..]),
        ("container_config", &[Sign::Config]),
        ("exit", &[Sign::Exited, Sign::Killed, Sign::FailedForGood]),
        ("out_of_memory", &[Sign::Killed]),
    ] {
        let mut spans = failing(truth, signs);
        spans.retain(|span| way != "out_of_memory" || oom(span));
        spans.retain(|span| way != "exit" || span.sign != Sign::Killed || !oom(span));
        let mut owners: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
        for span in &spans {
            owners.entry(&span.who.owner).or_default().push(span);
        }
        for (owner, spans) in owners {
            for (from, to) in together(&spans, |span| span.who.subject.clone(), 3, 2) {
                add(all, insight("I1", owner, way), from, to, 0);
            }
        }
    }
}

fn after_change(truth: &Truth, all: &mut Vec<Expected>) {
    let spans = failing(
        truth,
        &[
            Sign::Pull,
            Sign::Config,
            Sign::Exited,
            Sign::Killed,
            Sign::FailedForGood,
        ],
    );
    let mut owners: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in &spans {
        owners.entry(&span.who.owner).or_default().push(span);
    }
    for (owner, spans) in owners {
        let Some(changes) = truth.changes.get(owner) else {
            continue;
        };
        for (from, to) in together(&spans, |span| span.who.subject.clone(), 1, 1) {
            // The first of these failures that came soon after a change.
            let suspect = |span: &&&Span| {
                let since = span.since.max(span.from - IMAGE_PULL);
                changes
                    .iter()
                    .any(|at| since >= at - SECOND && since - at <= AFTER_CHANGE)
            };
            let within = spans
                .iter()
                .filter(|span| span.from >= from && span.from < to);
            let first = within.filter(suspect).min_by_key(|span| span.from);
            if let Some(first) = first {
                add(all, insight("I2", owner, ""), first.from, to, 0);
            }
        }
    }
}

fn images(truth: &Truth, all: &mut Vec<Expected>) {
    for (image, spans) in by(truth, &[Sign::PullSeen], |span| span.who.image.clone()) {
        for (from, to) in together(&spans, |span| span.who.node.clone(), 2, 2) {
            let first = spans
                .iter()
                .filter(|span| span.end() > from && span.from <= from)
                .map(|span| span.from)
                .min();
            let opens = (first.unwrap_or(from) + IMAGE_PULL).max(from);
            if opens < to {
                add(
                    all,
                    insight("I5", &format!("Image/{image}"), ""),
                    opens,
                    to,
                    0,
                );
            }
        }
    }
    nodes_without_images(truth, all);
    evicting_nodes(truth, all);
}

/// Nodes under pressure that evicted two pods or more.
fn evicting_nodes(truth: &Truth, all: &mut Vec<Expected>) {
    for pressure in truth
        .spans
        .iter()
        .filter(|span| span.sign == Sign::Pressure)
    {
        let evicted = truth.spans.iter().filter(|span| {
            span.sign == Sign::Evicted
                && pressure.who.subject == format!("Node/{}", span.who.node)
                && span.from >= pressure.from
                && span.from < pressure.end()
        });
        let mut times: Vec<Ms> = evicted.map(|span| span.from).collect();
        times.sort_unstable();
        if let Some(second) = times.get(1) {
            add(
                all,
                insight("I11", &pressure.who.subject, ""),
                *second,
                pressure.end(),
                0,
            );
        }
    }
}

/// Two images or more that fail on one node alone.
fn nodes_without_images(truth: &Truth, all: &mut Vec<Expected>) {
    let nodes = by(truth, &[Sign::PullSeen], |span| span.who.node.clone());
    for (node, spans) in &nodes {
        // While an image fails elsewhere too, the node is not the one to blame for it.
        let images: BTreeSet<&str> = spans.iter().map(|span| &*span.who.image).collect();
        let elsewhere = nodes.iter().filter(|(other, _)| *other != node);
        let others: Vec<&Span> = elsewhere
            .flat_map(|(_, spans)| spans.iter().copied())
            .filter(|span| images.contains(&*span.who.image))
            .collect();
        let alone = |at: Ms| {
            let so = |span: &Span| span.from <= at && at < span.end();
            let here = spans
                .iter()
                .filter(|span| so(span))
                .map(|span| &*span.who.image);
            let here: BTreeSet<&str> = here.collect();
            let fails_elsewhere =
                |image: &str| others.iter().any(|o| *o.who.image == *image && so(o));
            here.into_iter()
                .filter(|image| !fails_elsewhere(image))
                .count()
        };
        let both = spans.iter().chain(&others);
        let mut edges: Vec<Ms> = both.flat_map(|span| [span.from, span.end()]).collect();
        edges.sort_unstable();
        let mut since = None;
        for at in edges {
            match (since, alone(at) >= 2) {
                (None, true) => since = Some(at),
                (Some(from), false) => {
                    since = None;
                    if at - from >= IMAGE_PULL {
                        add(
                            all,
                            insight("I6", &format!("Node/{node}"), ""),
                            from + IMAGE_PULL,
                            at,
                            0,
                        );
                    }
                }
                _ => {}
            }
        }
    }
}

fn assess(habit: &HabitSpan, morning: Ms, all: &mut Vec<Expected>) {
    // A newer pod within the wait begins it anew.
    let mut opens = habit.newest.first().copied().unwrap_or(habit.from) + ASSESSMENT;
    for newest in habit.newest.iter().filter(|at| **at > habit.from) {
        if *newest < opens {
            opens = newest + ASSESSMENT;
        }
    }
    let opens = opens.max(morning);
    if habit.to.is_some_and(|to| to < opens) {
        return;
    }
    all.push(Expected {
        rule: habit.rule,
        subject: habit.owner.clone(),
        part: habit.part.clone(),
        // What a Service or an owner lacks is first seen now: the wait begins with the morning.
        opens: (opens - HASTE, opens.max(morning + ASSESSMENT) + HASTE),
        severity: habit.severity,
        worse: None,
        closes: habit.to.map(|to| (to - HASTE, to + HASTE)),
        close_call: habit.to.is_some_and(|to| to - opens < HASTE),
    });
}
