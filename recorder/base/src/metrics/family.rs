//! Metric families whose children are resolved in advance.

use std::marker::PhantomData;

use kube9_model::label::Label;
use prometheus::core::{Collector, Metric, MetricVec, MetricVecBuilder};

/// A metric for each value of a label.
#[derive(Debug)]
pub struct Family<L, M> {
    children: Vec<M>,
    label: PhantomData<L>,
}

impl<L: Label, M: Metric> Family<L, M> {
    /// Creates a child, with its initial value, for every label value.
    pub fn resolve<T>(family: &MetricVec<T>) -> Self
    where
        T: MetricVecBuilder<M = M>,
        MetricVec<T>: Collector,
    {
        let children = L::ALL
            .iter()
            .map(|value| family.with_label_values(&[value.name()]))
            .collect();
        Self {
            children,
            label: PhantomData,
        }
    }

    /// The metric of `value`.
    pub fn get(&self, value: L) -> &M {
        &self.children[value.index()]
    }
}

/// A metric for each pair of values of two labels.
#[derive(Debug)]
pub struct Family2<A, B, M> {
    children: Vec<M>,
    labels: PhantomData<(A, B)>,
}

impl<A: Label, B: Label, M: Metric> Family2<A, B, M> {
    /// Creates a child, with its initial value, for every pair of label values.
    pub fn resolve<T>(family: &MetricVec<T>) -> Self
    where
        T: MetricVecBuilder<M = M>,
        MetricVec<T>: Collector,
    {
        let pairs = A::ALL
            .iter()
            .flat_map(|a| B::ALL.iter().map(move |b| [a.name(), b.name()]));
        let children = pairs.map(|pair| family.with_label_values(&pair)).collect();
        Self {
            children,
            labels: PhantomData,
        }
    }

    /// The metric of the pair.
    pub fn get(&self, a: A, b: B) -> &M {
        &self.children[a.index() * B::ALL.len() + b.index()]
    }
}
