//! How long replies took.

use hdrhistogram::Histogram;

use super::report::Report;

/// Longest latency that is told apart, in ns: anything above 100 s counts as 100 s.
const LATENCY_NS_MAX: u64 = 100_000_000_000;

/// A distribution of latencies, recorded in ns.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// None recorded yet.
    pub fn new() -> Latencies {
        // Three digits are precise to 0.1 %, which is finer than any two runs agree.
        Latencies(Histogram::new_with_max(LATENCY_NS_MAX, 3).expect("these bounds are valid"))
    }

    /// Records one.
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns.min(LATENCY_NS_MAX));
    }

    /// Adds those of another part of the run.
    pub fn absorb(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency in us that `percent` of all replies did not exceed; 0 if there are none.
    pub fn percentile_us(&self, percent: f64) -> f64 {
        self.0.value_at_quantile(percent / 100.0) as f64 / 1000.0
    }

    /// The longest in us.
    pub fn max_us(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }

    /// How many took longer than `ns`, give or take the precision of the record (0.1 %).
    pub fn count_above(&self, ns: u64) -> u64 {
        let steps = self.0.iter_recorded();
        steps.filter(|step| step.value_iterated_to() > ns).map(|step| step.count_at_value()).sum()
    }

    /// Adds the usual percentiles to a report, under names that start with `prefix`.
    pub fn report(&self, report: &mut Report, prefix: &str) {
        for (name, percent) in [("p50", 50.0), ("p99", 99.0), ("p999", 99.9)] {
            report.number(&format!("{prefix}{name}_us"), self.percentile_us(percent));
        }
        report.number(&format!("{prefix}max_us"), self.max_us());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut latencies = Latencies::new();
        for us in 1..=1000 {
            latencies.record(us * 1000);
        }
        assert!((latencies.percentile_us(50.0) - 500.0).abs() < 1.0);
        assert!((latencies.max_us() - 1000.0).abs() < 1.0);
        assert_eq!(latencies.count_above(500_400), 500);
    }
}
