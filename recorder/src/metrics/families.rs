//! Families built by hand, for collectors that take all their values at one moment.

use prometheus::core::Desc;
use prometheus::proto;

/// Kind of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Counter,
    Gauge,
}

/// Name, help, type and label names of a family.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Type,
    pub(super) labels: &'static [&'static str],
}

impl Family {
    /// What the registry checks for doubles.
    pub(super) fn desc(&self) -> Desc {
        let labels = self.labels.iter().map(|&label| label.to_owned()).collect();
        Desc::new(
            self.name.to_owned(),
            self.help.to_owned(),
            labels,
            Default::default(),
        )
        .expect("the family's name, help and labels are literals that tests check")
    }

    /// The family with one sample without labels.
    pub(super) fn single(&self, value: f64) -> proto::MetricFamily {
        self.with([([], value)])
    }

    /// The family with a sample for each set of label values.
    pub(super) fn with<const N: usize>(
        &self,
        samples: impl IntoIterator<Item = ([String; N], f64)>,
    ) -> proto::MetricFamily {
        let metrics = samples
            .into_iter()
            .map(|(values, value)| self.sample(values, value));
        let mut family = proto::MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(match self.kind {
            Type::Counter => proto::MetricType::COUNTER,
            Type::Gauge => proto::MetricType::GAUGE,
        });
        family.set_metric(metrics.collect());
        family
    }

    fn sample<const N: usize>(&self, values: [String; N], value: f64) -> proto::Metric {
        let pairs = self.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value);
            pair
        });
        let mut pairs: Vec<proto::LabelPair> = pairs.collect();
        // As the client library orders those of its own families.
        pairs.sort_by(|a, b| a.name().cmp(b.name()));
        let mut metric = proto::Metric::from_label(pairs);
        match self.kind {
            Type::Counter => {
                let mut counter = proto::Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Type::Gauge => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        metric
    }
}
