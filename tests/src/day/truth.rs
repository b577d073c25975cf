//! What was so, from when to when: noted while the day goes on, read by the oracle afterwards.

use std::collections::{BTreeMap, HashMap};

use kube9_shared::model::Severity;

use super::Ms;
use super::cast::Bad;

/// Something that is so for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Sign {
    /// A pod's image cannot be pulled.
    Pull,
    /// A pod's image cannot be pulled, until the pod is gone altogether.
    PullSeen,
    /// A pod's container cannot be made.
    Config,
    /// A container was killed, and has not recovered.
    Killed,
    /// A container ended with an error, and has not recovered.
    Exited,
    /// It ended with an error, and is not known to do so again and again.
    ExitedOnce,
    /// It is in a crash loop.
    Loops,
    /// A job's pod failed, and stays.
    FailedForGood,
    NoNode,
    Creating,
    Unready,
    Terminating,
    Evicted,
    NodeDown,
    Pressure,
    Problem,
    Exceeded,
    Unavailable,
    Refused,
    NoPods,
    NoneReady,
    NodeFull,
}

/// Who it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Who {
    /// `Kind/namespace/name`, `Node/name`.
    pub(super) subject: String,
    /// `Kind/namespace/name` of the controller.
    pub(super) owner: String,
    pub(super) node: String,
    pub(super) image: String,
}

impl Who {
    pub(super) fn of(subject: String) -> Self {
        Self {
            subject,
            ..Self::default()
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) sign: Sign,
    pub(super) who: Who,
    pub(super) from: Ms,
    /// Where the API says another time than that of the change.
    pub(super) since: Ms,
    pub(super) to: Option<Ms>,
    /// Whether it was at its worst, from when on.
    pub(super) worst: Vec<(Ms, bool)>,
}

impl Span {
    pub(super) fn end(&self) -> Ms {
        self.to.unwrap_or(Ms::MAX)
    }
}

/// One habit of a template, as the newest pod shows it.
#[derive(Debug, Clone)]
pub(super) struct HabitSpan {
    pub(super) owner: String,
    pub(super) rule: &'static str,
    pub(super) part: String,
    pub(super) severity: Severity,
    pub(super) from: Ms,
    /// Each newer pod with the habit begins the wait anew.
    pub(super) newest: Vec<Ms>,
    pub(super) to: Option<Ms>,
}

/// A story, and what it must at least have led to.
#[derive(Debug, Clone)]
pub struct Headline {
    /// Its name.
    pub story: &'static str,
    /// The rule whose finding it leads to.
    pub rule: &'static str,
    /// What the finding is about.
    pub subject: String,
    /// Not before this.
    pub from: Ms,
}

/// A finding that must have been open.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Number of the rule.
    pub rule: &'static str,
    /// `Kind/namespace/name`, `Node/name` or `Image/name`.
    pub subject: String,
    /// The part of the fingerprint behind the subject.
    pub part: String,
    /// When it opens, at the earliest and at the latest.
    pub opens: (Ms, Ms),
    /// How bad it is then.
    pub severity: Severity,
    /// When it gets worse, if it does.
    pub worse: Option<Ms>,
    /// When it closes, at the earliest and at the latest; `None`: it is open in the evening.
    pub closes: Option<(Ms, Ms)>,
    /// It lasted about as long as the rule waits: either is right.
    pub close_call: bool,
}

#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) spans: Vec<Span>,
    open: HashMap<(Sign, String), usize>,
    pub(super) habits: Vec<HabitSpan>,
    open_habits: HashMap<(String, &'static str, String), usize>,
    /// Changes that can break an owner's pods.
    pub(super) changes: BTreeMap<String, Vec<Ms>>,
    /// Kills for want of memory, by owner.
    pub(super) ooms: BTreeMap<String, Vec<Ms>>,
    /// Changes between ready and not, by node.
    pub(super) flips: BTreeMap<String, Vec<Ms>>,
    /// What each story must have led to.
    pub(super) headlines: Vec<Headline>,
}

impl Truth {
    /// It is so, or is not, from now on.
    pub(super) fn set(&mut self, sign: Sign, who: &Who, on: bool, at: Ms) {
        self.set_since(sign, who, on, at, at);
    }

    pub(super) fn set_since(&mut self, sign: Sign, who: &Who, on: bool, at: Ms, since: Ms) {
        let key = (sign, who.subject.clone());
        match (on, self.open.get(&key)) {
            (true, None) => {
                self.open.insert(key, self.spans.len());
                let who = who.clone();
                self.spans.push(Span {
                    sign,
                    who,
                    from: at,
                    since,
                    to: None,
                    worst: Vec::new(),
                });
            }
            (false, Some(index)) => {
                self.spans[*index].to = Some(at);
                self.open.remove(&key);
            }
            _ => {}
        }
    }

    /// How bad it is now, of what is so.
    pub(super) fn level(&mut self, sign: Sign, who: &Who, worst: bool, at: Ms) {
        if let Some(index) = self.open.get(&(sign, who.subject.clone())) {
            let levels = &mut self.spans[*index].worst;
            if levels.last().is_none_or(|(_, last)| *last != worst) {
                levels.push((at, worst));
            }
        }
    }

    /// A container failed, and is well again, or gone.
    pub(super) fn failed(&mut self, who: &Who, bad: Bad, to: Option<Ms>) {
        let sign = if bad.killed {
            Sign::Killed
        } else {
            Sign::Exited
        };
        let mut add = |sign, from, to: Option<Ms>| {
            let who = who.clone();
            let worst = vec![(from, bad.oom)];
            self.spans.push(Span {
                sign,
                who,
                from,
                since: from,
                to,
                worst,
            });
        };
        add(sign, bad.from, to);
        if !bad.killed {
            let once = [bad.looping, to].into_iter().flatten().min();
            add(Sign::ExitedOnce, bad.from, once);
        }
        if let Some(from) = bad.looping {
            add(Sign::Loops, from, to);
        }
    }

    pub(super) fn oom(&mut self, owner: &str, at: Ms) {
        self.ooms.entry(owner.to_owned()).or_default().push(at);
    }

    pub(super) fn changed(&mut self, owner: &str, at: Ms) {
        self.changes.entry(owner.to_owned()).or_default().push(at);
    }

    pub(super) fn flipped(&mut self, node: &str, at: Ms) {
        self.flips.entry(node.to_owned()).or_default().push(at);
    }

    /// The newest pod has the habit, or has it no more.
    pub(super) fn habit(
        &mut self,
        owner: &str,
        rule: &'static str,
        part: &str,
        on: bool,
        created: Ms,
        at: Ms,
    ) {
        let key = (owner.to_owned(), rule, part.to_owned());
        match (on, self.open_habits.get(&key)) {
            (true, None) => {
                self.open_habits.insert(key, self.habits.len());
                self.habits.push(HabitSpan {
                    owner: owner.to_owned(),
                    rule,
                    part: part.to_owned(),
                    severity: Severity::Warning,
                    from: at,
                    newest: vec![created],
                    to: None,
                });
            }
            (true, Some(index)) => {
                let newest = &mut self.habits[*index].newest;
                if newest.last() != Some(&created) {
                    newest.push(created);
                }
            }
            (false, Some(index)) => {
                self.habits[*index].to = Some(at);
                self.open_habits.remove(&key);
            }
            (false, None) => {}
        }
    }

    /// A habit from morning to night.
    pub(super) fn lasting(
        &mut self,
        subject: String,
        rule: &'static str,
        part: &str,
        severity: Severity,
        from: Ms,
    ) {
        self.habits.push(HabitSpan {
            owner: subject,
            rule,
            part: part.to_owned(),
            severity,
            from,
            newest: vec![from - 86_400_000],
            to: None,
        });
    }

    pub(super) fn headline(
        &mut self,
        story: &'static str,
        rule: &'static str,
        subject: String,
        from: Ms,
    ) {
        self.headlines.push(Headline {
            story,
            rule,
            subject,
            from,
        });
    }
}
