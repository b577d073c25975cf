//! Which Events are recorded, and the severity overrides of the configuration. Pure.
//!
//! ```yaml
//! filters:                       # the first rule that matches decides; an Event without a match is recorded
//!   - name: keep-failures        # [a-z0-9-], unique: a metric counts per name what a rule filtered
//!     action: include
//!     match: { types: [Warning] }
//!   - name: no-leases
//!     action: exclude
//!     match: { reasons: [LeaderElection], namespaces: ["kube-*"] }
//! severity_overrides:            # the first rule that matches decides
//!   - match: { reasons: [Unhealthy], namespaces: ["staging-*"] }
//!     severity: info
//! ```
//!
//! Within `match` every given field must match, and a field matches if one of its globs does. `*` matches any text,
//! also an empty one (such as the namespace of cluster-scoped objects), `?` matches one character. Kinds, reasons and
//! types are case-insensitive, names and namespaces are case-sensitive.

mod matcher;
mod problems;

use std::collections::HashSet;

use kube9_model::Severity;
use serde::{Deserialize, Serialize};

pub use matcher::{GLOB_BYTES_MAX, GLOBS_MAX, Match, Subject};
pub use problems::{BadRule, RULES_MAX};

use matcher::Matcher;
use problems::Problems;

/// One entry of `filters`, as it is written in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FilterRule {
    /// Names the rule in the metric that counts what it filtered.
    pub name: String,
    /// What happens to an Event that it matches.
    pub action: Action,
    /// Which Events it matches.
    #[serde(rename = "match")]
    pub matches: Match,
}

/// What a filter rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The Event is recorded, whatever later rules say.
    Include,
    /// The Event is not recorded; it is counted under the rule's name.
    Exclude,
}

/// One entry of `severity_overrides`, as it is written in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideRule {
    /// Which Events it matches.
    #[serde(rename = "match")]
    pub matches: Match,
    /// The severity they get: info, warning, error or critical.
    pub severity: String,
}

/// Decides which Events are recorded.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    rules: Vec<(String, Action, Matcher)>,
}

/// What to do with an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    Record,
    /// Do not record it; count it for this rule.
    Exclude {
        /// Name of the rule.
        rule: &'a str,
    },
}

impl Filter {
    /// Checks and prepares the rules.
    ///
    /// # Errors
    /// Every value that cannot be used, with its path.
    pub fn new(rules: &[FilterRule]) -> Result<Self, Vec<BadRule>> {
        let mut bad = Problems::new("filters", rules.len());
        let mut names = HashSet::new();
        let mut prepared = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            let path = format!("filters[{index}]");
            let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if rule.name.is_empty() || rule.name.len() > 63 || !rule.name.bytes().all(fits) {
                bad.add(
                    format!("{path}.name"),
                    "must be 1 to 63 characters a-z, 0-9 or -",
                );
            } else if !names.insert(rule.name.as_str()) {
                bad.add(
                    format!("{path}.name"),
                    format_args!("{:?} is the name of an earlier rule", rule.name),
                );
            }
            let matcher = Matcher::new(&rule.matches, &format!("{path}.match"), &mut bad);
            prepared.push((rule.name.clone(), rule.action, matcher));
        }
        bad.none_or(Self { rules: prepared })
    }

    pub fn decide(&self, subject: Subject<'_>) -> Decision<'_> {
        match self
            .rules
            .iter()
            .find(|(_, _, matcher)| matcher.is_match(subject))
        {
            Some((name, Action::Exclude, _)) => Decision::Exclude { rule: name },
            Some((_, Action::Include, _)) | None => Decision::Record,
        }
    }

    /// Names of the excluding rules, so that their metrics start at 0.
    pub fn excluding_rules(&self) -> impl Iterator<Item = &str> {
        self.rules
            .iter()
            .filter(|(_, action, _)| *action == Action::Exclude)
            .map(|(name, _, _)| name.as_str())
    }
}

/// Severities set by the configuration.
#[derive(Debug, Clone, Default)]
pub struct SeverityOverrides {
    rules: Vec<(Matcher, Severity)>,
}

impl SeverityOverrides {
    /// Checks and prepares the rules.
    ///
    /// # Errors
    /// Every value that cannot be used, with its path.
    pub fn new(rules: &[OverrideRule]) -> Result<Self, Vec<BadRule>> {
        let mut bad = Problems::new("severity_overrides", rules.len());
        let mut prepared = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            let path = format!("severity_overrides[{index}]");
            let matcher = Matcher::new(&rule.matches, &format!("{path}.match"), &mut bad);
            match rule.severity.parse() {
                Ok(severity) => prepared.push((matcher, severity)),
                Err(unknown) => bad.add(format!("{path}.severity"), unknown),
            }
        }
        bad.none_or(Self { rules: prepared })
    }

    /// The severity of the first matching rule.
    pub fn severity(&self, subject: Subject<'_>) -> Option<Severity> {
        self.rules
            .iter()
            .find(|(matcher, _)| matcher.is_match(subject))
            .map(|(_, severity)| *severity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: Subject<'_> = Subject {
        namespace: "shop",
        kind: "Pod",
        name: "web-1",
        reason: "Unhealthy",
        kube_type: "Warning",
    };

    fn filter(yaml: &str) -> Filter {
        Filter::new(&serde_yaml::from_str::<Vec<FilterRule>>(yaml).unwrap()).unwrap()
    }

    fn problems(yaml: &str) -> Vec<String> {
        let bad = Filter::new(&serde_yaml::from_str::<Vec<FilterRule>>(yaml).unwrap()).unwrap_err();
        bad.iter().map(BadRule::to_string).collect()
    }

    #[test]
    fn filter_every_given_field_must_match() {
        for (condition, excluded) in [
            ("{ namespaces: [shop] }", true),
            ("{ namespaces: [bank, sh*] }", true),
            ("{ namespaces: [bank] }", false),
            (
                "{ kinds: [pod], names: ['web-?'], reasons: [unhealthy], types: [warning], namespaces: [shop] }",
                true,
            ),
            ("{ kinds: [pod], names: ['api-?'] }", false),
            ("{ types: [Normal] }", false),
            ("{ names: ['WEB-1'] }", false),
        ] {
            let filter = filter(&format!(
                "[{{ name: x, action: exclude, match: {condition} }}]"
            ));
            let expected = if excluded {
                Decision::Exclude { rule: "x" }
            } else {
                Decision::Record
            };
            assert_eq!(filter.decide(POD), expected, "{condition}");
        }
        let everything = filter("[{ name: x, action: exclude, match: { namespaces: ['*'] } }]");
        let node = Subject {
            kind: "Node",
            name: "n1",
            ..Subject::default()
        };
        assert_eq!(everything.decide(node), Decision::Exclude { rule: "x" });
    }

    #[test]
    fn filter_first_matching_rule_decides() {
        let filter = filter(
            "[{ name: warnings, action: include, match: { types: [Warning] } },
              { name: shop, action: exclude, match: { namespaces: [shop] } },
              { name: rest, action: exclude, match: { namespaces: ['*'] } }]",
        );
        assert_eq!(filter.decide(POD), Decision::Record);
        assert_eq!(
            filter.decide(Subject {
                kube_type: "Normal",
                ..POD
            }),
            Decision::Exclude { rule: "shop" }
        );
        assert_eq!(
            filter.decide(Subject::default()),
            Decision::Exclude { rule: "rest" }
        );
        assert_eq!(
            filter.excluding_rules().collect::<Vec<_>>(),
            ["shop", "rest"]
        );
        assert_eq!(Filter::default().decide(POD), Decision::Record);
    }

    #[test]
    fn severity_overrides_apply_to_matching_events() {
        let rules = "[{ match: { reasons: [Unhealthy], namespaces: [bank] }, severity: critical },
                      { match: { reasons: [Unhealthy] }, severity: Info }]";
        let overrides =
            SeverityOverrides::new(&serde_yaml::from_str::<Vec<OverrideRule>>(rules).unwrap())
                .unwrap();
        assert_eq!(overrides.severity(POD), Some(Severity::Info));
        assert_eq!(
            overrides.severity(Subject {
                namespace: "bank",
                ..POD
            }),
            Some(Severity::Critical)
        );
        assert_eq!(
            overrides.severity(Subject {
                reason: "Killing",
                ..POD
            }),
            None
        );
    }

    #[test]
    fn filter_every_bad_value_is_reported_with_its_path() {
        let yaml = format!(
            "[{{ name: Bad_Name, action: exclude, match: {{ names: [ok, '{}'] }} }},
              {{ name: twice, action: exclude, match: {{ names: [] }} }},
              {{ name: twice, action: include, match: {{}} }}]",
            "x".repeat(254)
        );
        assert_eq!(
            problems(&yaml),
            [
                "filters[0].name: must be 1 to 63 characters a-z, 0-9 or -",
                "filters[0].match.names[1]: is 254 bytes long; at most 253 are possible",
                "filters[1].match.names: is empty, so the rule can never match; leave the field out to match everything",
                "filters[2].name: \"twice\" is the name of an earlier rule",
                "filters[2].match: needs a condition; to match every Event write namespaces: [\"*\"]",
            ]
        );
        let rule = OverrideRule {
            matches: Match {
                kinds: Some(vec!["Pod".into()]),
                ..Match::default()
            },
            severity: "fatal".into(),
        };
        let bad = SeverityOverrides::new(&[rule]).unwrap_err();
        assert_eq!(bad[0].path, "severity_overrides[0].severity");
        assert!(
            bad[0]
                .problem
                .contains("valid values: info, warning, error, critical")
        );
    }

    #[test]
    fn filter_too_many_rules_are_rejected() {
        let rule = |n: usize, globs: usize| FilterRule {
            name: format!("r{n}"),
            action: Action::Exclude,
            matches: Match {
                names: Some(vec!["x".into(); globs]),
                ..Match::default()
            },
        };
        let rules = |count: usize| (0..count).map(|n| rule(n, 1)).collect::<Vec<_>>();
        assert!(Filter::new(&rules(RULES_MAX)).is_ok());
        let bad = Filter::new(&rules(RULES_MAX + 1)).unwrap_err();
        assert_eq!(bad.len(), 1);
        assert_eq!(
            bad[0].to_string(),
            "filters: has 101 rules; at most 100 are possible"
        );
        assert!(Filter::new(&[rule(0, GLOBS_MAX)]).is_ok());
        let bad = Filter::new(&[rule(0, GLOBS_MAX + 1)]).unwrap_err();
        assert_eq!(
            bad[0].to_string(),
            "filters[0].match.names: has 101 entries; at most 100 are possible"
        );
    }

    #[test]
    fn filter_unknown_keys_are_rejected() {
        for yaml in [
            "[{ name: x, action: exclude, match: { namespace: [shop] } }]",
            "[{ name: x, action: exclude, match: { kinds: [Pod] }, comment: y }]",
            "[{ name: x, action: drop, match: { kinds: [Pod] } }]",
        ] {
            assert!(
                serde_yaml::from_str::<Vec<FilterRule>>(yaml).is_err(),
                "{yaml}"
            );
        }
    }
}
