//! Evaluation of the subjects in the work queue.

use std::collections::BTreeSet;
use std::time::Duration;

use kube9_ingest::item::{Finding, Item};
use kube9_model::EventType;
use kube9_model::label::Kind;
use kube9_model::time::Timestamp;

use super::{Analysis, items};
use crate::changes::UnobservedInterval;
use crate::config::AnalysisConfig;
use crate::findings::Evaluation;
use crate::rules::rule::{Rule, RuleContext};
use crate::rules::symptoms::RuleOutput;
use crate::rules::{self, PERMISSION};
use crate::subject::{Subject, SubjectKind};
use crate::target::Target;

/// Findings collected before they are returned: each is a row of up to 15 KiB, and one evaluation may make hundreds.
const STEPS_MAX: usize = 64;

const NO_MEMORY: &str = "the analysis of its namespace is off for lack of memory";

impl Analysis {
    /// Evaluates up to `budget` subjects from the queue.
    pub fn evaluate(&mut self, budget: usize, now: Timestamp) -> Vec<Item> {
        let (mut steps, mut out) = (Vec::new(), Vec::new());
        self.relist |= self.quota.retry(now);
        self.unsuspend(now, &mut steps);
        self.work_queue.promote_due(now);
        for _ in 0..budget {
            let Some(subject) = self.work_queue.pop() else {
                break;
            };
            self.evaluate_subject(&subject, now, &mut steps);
            let grown = self.findings.bearer(&subject).to_owned();
            self.stay_within(&grown, now, &mut out);
            if steps.len() >= STEPS_MAX {
                break;
            }
        }
        out.extend(items(steps));
        out
    }

    /// Enqueues all subjects when a kind becomes ready.
    fn unsuspend(&mut self, now: Timestamp, out: &mut Vec<Finding>) {
        let now_ready = self.freshness.refresh(now);
        if now_ready.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.disabled_rules_closed, true) {
            let runs = |name: &str| {
                name == PERMISSION.name || named(name).any(|rule| self.config.runs(rule))
            };
            self.findings
                .close_disabled(runs, "the rule is disabled", now, out);
        }
        for (kind, since) in now_ready {
            let Some(from) = since else { continue };
            let reads = |name: &str| named(name).any(|rule| rule.reads.contains(&kind));
            self.findings
                .mark_unverified(reads, UnobservedInterval { from, to: now });
        }
        self.work_queue.enqueue(self.world.subjects());
        let about_findings: BTreeSet<Subject> = self.findings.subjects().cloned().collect();
        self.work_queue.enqueue(about_findings);
    }

    fn is_ready(&self, rule: &Rule) -> bool {
        rule.reads.iter().all(|kind| self.freshness.is_ready(*kind))
    }

    fn evaluate_subject(&mut self, subject: &Subject, now: Timestamp, out: &mut Vec<Finding>) {
        let is_off = self.quota.is_off(subject.namespace());
        // Rules about nodes and images depend on the pods of all namespaces.
        let misses_pods = matches!(subject.kind, SubjectKind::Node | SubjectKind::Image)
            && self.quota.count() > 0;
        let target = Target::find(&self.world, subject);
        let bearer = match &target {
            Some(target) => target.bearer,
            None => self.findings.bearer(subject),
        };
        if self.quota.leaves_out(bearer) {
            let reads = |name: &str| named(name).any(|rule| !rule.reads.is_empty());
            self.findings.close_for(subject, reads, NO_MEMORY, now, out);
        }
        let Some(target) = target else {
            if is_off {
                return; // its objects are not kept, and its findings are closed
            }
            let kind = subject.kind.kind();
            let is_known = kind.is_some_and(|kind| self.freshness.is_ready(kind));
            if is_known || subject.kind == SubjectKind::Fields {
                self.without_objects(subject, now, out);
            }
            return;
        };
        if !self.idle_cron_jobs.is_empty() {
            self.idle_cron_jobs.remove(subject);
        }
        let had_none = self.findings.has_none(subject);
        let mut again: Option<Timestamp> = None;
        for rule in rules::ALL
            .iter()
            .filter(|rule| rule.check.kind() == subject.kind)
        {
            let sees_part = misses_pods && rule.reads.contains(&Kind::Pod);
            let reads_what_is_off =
                (is_off && !rule.reads.is_empty()) || (sees_part && !rules::holds_of_a_part(rule));
            if reads_what_is_off || !self.is_ready(rule) || !self.config.runs(rule) {
                continue;
            }
            let evaluation = Evaluation {
                rule: rule.name,
                event_type: rule.event_type,
                subject,
                identity: &target.identity,
                object: target.object.as_ref(),
                bearer: target.bearer,
                sees_part,
                had_none,
                now,
            };
            let mut output = RuleOutput::default();
            if !self.config.excludes(rule, target.namespace) && !target.ignores(rule) {
                let findings = &self.findings;
                let context = RuleContext {
                    world: &self.world,
                    now,
                    thresholds: &self.config.thresholds,
                    is_open: &|part| findings.is_open(&evaluation, part),
                    other_is_open: &|rule, part| findings.other_is_open(&evaluation, rule, part),
                };
                target.check(rule, &context, &mut output);
            }
            let next = self.findings.reconcile(&evaluation, output, out);
            again = [again, next].into_iter().flatten().min();
        }
        let again = again.map(|at| at.max(now.plus(Duration::from_millis(1))));
        self.work_queue.schedule(again, subject);
    }
}

/// A CronJob without a pod for so long counts as deleted. Longer than the interval of a daily CronJob.
const IDLE_CRON_JOB_MAX: Duration = Duration::from_secs(25 * 3_600);

impl Analysis {
    /// Closes the findings about a subject without objects. Assessments of a CronJob stay open, because it may have no pods
    /// between two runs.
    fn without_objects(&mut self, subject: &Subject, now: Timestamp, out: &mut Vec<Finding>) {
        let assessments =
            |name: &str| named(name).any(|rule| rule.event_type == EventType::Assessment);
        let is_cron_job = subject.kind == SubjectKind::Owner && subject.object.kind == "CronJob";
        if !is_cron_job {
            self.findings.close_for_deleted(subject, |_| true, now, out);
            self.work_queue.schedule(None, subject);
            return;
        }
        self.findings
            .close_for_deleted(subject, |id| !assessments(id), now, out);
        if !self.findings.has(subject) {
            self.idle_cron_jobs.remove(subject);
            self.work_queue.schedule(None, subject);
            return;
        }
        let since = *self.idle_cron_jobs.entry(subject.clone()).or_insert(now);
        if now.since(since) < IDLE_CRON_JOB_MAX {
            self.work_queue
                .schedule(Some(since.plus(IDLE_CRON_JOB_MAX)), subject);
        } else {
            self.work_queue.schedule(None, subject);
            self.idle_cron_jobs.remove(subject);
            self.findings.close_for_deleted(subject, |_| true, now, out);
        }
    }
}

fn named(name: &str) -> impl Iterator<Item = &'static Rule> {
    rules::ALL.iter().filter(move |rule| rule.name == name)
}

impl AnalysisConfig {
    /// Whether a rule is enabled.
    pub fn runs(&self, rule: &Rule) -> bool {
        let is_possible =
            self.last_words.messages || rule.name != rules::TERMINATION_MESSAGE_MISSING;
        is_possible && !self.disabled_rules.iter().any(|word| rule.is_named(word))
    }

    /// Whether a rule is disabled in a namespace.
    fn excludes(&self, rule: &Rule, namespace: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|one| one == namespace);
        named(&self.exclude_namespaces)
            || (rule.event_type == EventType::Assessment
                && named(&self.assessment_exclude_namespaces))
    }
}
