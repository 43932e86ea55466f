//! Writes a sample of the node as an OpenMetrics page.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::table::{Kind, METRICS};
use crate::control::sample::Sample;

/// The page of a sample.
///
/// # Errors
/// When the encoder fails, which it does not do on its own.
pub(super) fn write(sample: Sample) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(Arc::new(sample))));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Page(Arc<Sample>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for metric in METRICS {
            let values = (metric.values)(&self.0);
            if values.is_empty() {
                continue;
            }
            // The encoder adds "_total" to counters.
            let (name, kind) = match metric.kind {
                Kind::Counter => (metric.name.strip_suffix("_total").unwrap_or(metric.name), MetricType::Counter),
                Kind::Gauge => (metric.name, MetricType::Gauge),
            };
            let mut family = encoder.encode_descriptor(name, metric.help, None, kind)?;
            for (labels, value) in values {
                let labels: Vec<_> = metric.labels.iter().copied().zip(labels).collect();
                let one = family.encode_family(&labels)?;
                match metric.kind {
                    Kind::Counter => ConstCounter::new(value).encode(one)?,
                    Kind::Gauge => ConstGauge::new(value).encode(one)?,
                }
            }
        }
        Ok(())
    }
}
