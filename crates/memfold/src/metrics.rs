//! What a memory holds and does, for Prometheus and whoever reads its format (feature `metrics`).
//!
//! The numbers are those of a record's sample, read at each scrape; nothing is kept in between.
//! Names follow the conventions: base units, `_total` for what only grows.

use crate::inner::Inner;
use crate::memory::Memory;
use crate::numbers::{Number, at_one_moment, numbers};
use memfold_host::addr::PAGE_SIZE;
use memfold_mm::living;
use memfold_record::{Nature, Unit};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{self, Registry};
use std::fmt;
use std::sync::{Arc, Weak};

/// The metrics of a [`Memory`]: a collector for a registry of `prometheus-client`.
///
/// It keeps no memory alive; of one that has ended it tells nothing. Any thread; each scrape takes
/// some microseconds, and 50 ns for each space.
#[derive(Clone, Debug)]
pub struct MemoryMetrics(Weak<Inner>);

impl Memory {
    /// What this memory holds and does, for the embedder's registry of metrics, or as
    /// [text](MemoryMetrics::text). Of several memories give each its own labels
    /// (`Registry::sub_registry_with_label`).
    ///
    /// ```
    /// # fn main() -> Result<(), memfold::Error> {
    /// let memory = memfold::Memory::builder().budget_bytes(16 << 20).build()?;
    /// let mut registry = prometheus_client::registry::Registry::default();
    /// registry.register_collector(Box::new(memory.metrics()));
    ///
    /// let text = memory.metrics().text();
    /// assert!(text.contains("memfold_budget_limit_bytes 16777216\n"));
    /// assert!(text.contains("memfold_faults_total 0\n"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn metrics(&self) -> MemoryMetrics {
        MemoryMetrics(Arc::downgrade(&self.0))
    }
}

impl MemoryMetrics {
    /// All metrics in the text format of OpenMetrics, as an answer to a scrape: its type is
    /// `application/openmetrics-text; version=1.0.0; charset=utf-8`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        encode(&mut text, &registry).expect("text takes any more text");
        text
    }

    fn numbers(&self) -> Option<Vec<Number>> {
        let inner = self.0.upgrade()?;
        let stats = at_one_moment(&inner)?;
        let alive = living(&*inner.mm().ok()?);
        Some(numbers(&stats, &alive))
    }
}

impl Collector for MemoryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (series, value) in self.numbers().unwrap_or_default() {
            // What is not known is not told; the time of the thread that asks is nobody's.
            if let Some(value) = value.filter(|_| series.name != "cpu.record") {
                put(&mut encoder, &series, value)?;
            }
        }
        Ok(())
    }
}

fn put(encoder: &mut DescriptorEncoder<'_>, series: &memfold_record::Series, value: u64) -> fmt::Result {
    let name = series.name.strip_prefix("count.").unwrap_or(&series.name);
    let name = format!("memfold_{}", name.replace('.', "_"));
    let help = format!("The series {} of memfold (docs/recording.md).", series.name);
    let unit = match series.unit {
        Unit::Bytes | Unit::Pages => Some(registry::Unit::Bytes),
        Unit::Nanoseconds => Some(registry::Unit::Seconds),
        Unit::Count => None,
    };
    let kind = match series.nature {
        Nature::Gauge => MetricType::Gauge,
        Nature::Counter => MetricType::Counter,
    };
    let metric = encoder.encode_descriptor(&name, &help, unit.as_ref(), kind)?;
    let bytes = match series.unit {
        Unit::Pages => value * PAGE_SIZE as u64,
        _ => value,
    };
    match (series.nature, series.unit) {
        (_, Unit::Nanoseconds) => ConstCounter::new(value as f64 / 1e9).encode(metric),
        (Nature::Gauge, _) => ConstGauge::new(bytes).encode(metric),
        (Nature::Counter, _) => ConstCounter::new(bytes).encode(metric),
    }
}
