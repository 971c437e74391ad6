//! The table.

use super::figures::{Metric, Row, Samples, Target};
use super::server::Side;

/// The table, and how it turned out.
#[derive(Clone, Debug)]
pub struct Table {
    /// In Markdown.
    pub markdown: String,
    /// Targets that were met.
    pub met: usize,
    /// Targets that were not.
    pub missed: usize,
    /// What the machine itself was like meanwhile, as a list.
    pub noise: String,
}

/// Writes a line for everything that was measured.
pub fn render(rows: &[Row], samples: &Samples) -> Table {
    let mut table = Table { markdown: String::new(), met: 0, missed: 0, noise: noise(samples) };
    table
        .markdown
        .push_str("| figure | Ferrokeeper | Java | ratio | target | |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let (ours, java) = (samples.get(row.metric, Side::Ours), samples.get(row.metric, Side::Java));
        if ours.is_empty() && java.is_empty() {
            continue;
        }
        // Both sides were measured in turns: only values of the same round are compared.
        let ratios: Vec<f64> = ours.iter().zip(java).map(|(ours, java)| ours / java).collect();
        let (target, met) = judge(row, ours, &ratios);
        let verdict = match met {
            None => "",
            Some(true) => "pass",
            Some(false) => "**FAIL**",
        };
        table.met += usize::from(met == Some(true));
        table.missed += usize::from(met == Some(false));
        table.markdown.push_str(&format!(
            "| {} | {} | {} | {} | {target} | {verdict} |\n",
            row.label,
            spread(ours, row.decimals),
            spread(java, row.decimals),
            spread(&ratios, 3),
        ));
    }
    table
}

/// The target in words, and whether the median meets it.
fn judge(row: &Row, ours: &[f64], ratios: &[f64]) -> (String, Option<bool>) {
    let number = |value: f64| trim(format!("{value:.3}"));
    match row.target {
        Target::None => (String::new(), None),
        Target::RatioAtLeast(limit) => {
            (format!("ratio >= {}", number(limit)), median(ratios).map(|ratio| ratio >= limit))
        }
        Target::RatioAtMost(limit) => {
            (format!("ratio <= {}", number(limit)), median(ratios).map(|ratio| ratio <= limit))
        }
        Target::AtLeast(limit) => (format!(">= {}", number(limit)), median(ours).map(|value| value >= limit)),
        Target::AtMost(limit) => (format!("<= {}", number(limit)), median(ours).map(|value| value <= limit)),
    }
}

/// What the machine itself was like meanwhile.
fn noise(samples: &Samples) -> String {
    let lines = [
        ("other_cpu_busy", "processors used by anything but server and client", 2),
        ("floor_echo_1x1_p50_us", "echo floor 1x1, median, us", 0),
        ("floor_fdatasync_p50_us", "append + fdatasync floor, median, us", 0),
    ];
    let mut text = String::new();
    for (name, label, decimals) in lines {
        let values = samples.all_named(name);
        if !values.is_empty() {
            text.push_str(&format!("- Meanwhile: {label}: {}\n", spread(&values, decimals)));
        }
    }
    for figure in ["get64x16", "get64x1"] {
        let metric = Metric { figure, name: "floor_echo_ops_per_s" };
        let values = [samples.get(metric, Side::Ours), samples.get(metric, Side::Java)].concat();
        if !values.is_empty() {
            text.push_str(&format!("- Echo floor beside {figure}, ops/s: {}\n", spread(&values, 0)));
        }
    }
    text
}

/// Median, smallest and largest.
fn spread(values: &[f64], decimals: usize) -> String {
    let Some(middle) = median(values) else { return "-".to_owned() };
    let shown = |value: f64| group(&format!("{value:.decimals$}"));
    if values.len() == 1 {
        return shown(middle);
    }
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} [{}..{}]", shown(middle), shown(smallest), shown(largest))
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        return Some(sorted[middle]);
    }
    Some((sorted.get(middle.checked_sub(1)?)? + sorted[middle]) / 2.0)
}

/// Commas between groups of three digits.
pub fn group(number: &str) -> String {
    let (whole, fraction) =
        number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{grouped}.{fraction}"),
        None => grouped,
    }
}

fn trim(number: String) -> String {
    group(number.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_java::figures::{Figure, STANDALONE_ROWS};

    #[test]
    fn medians_and_groups_of_digits() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(spread(&[1_234_567.0, 12.0, 999.0], 0), "999 [12..1,234,567]");
        assert_eq!(spread(&[-1234.5], 1), "-1,234.5");
        assert_eq!(trim("10.000".to_owned()), "10");
    }

    #[test]
    fn ratios_are_formed_within_a_round() {
        let mut samples = Samples::default();
        for (ours, java) in [(80.0, 10.0), (8.0, 1.0), (9.0, 1.0)] {
            samples.add(Figure::Get64x16, "ops_per_s", Side::Ours, ours);
            samples.add(Figure::Get64x16, "ops_per_s", Side::Java, java);
        }
        let table = render(STANDALONE_ROWS, &samples);
        assert_eq!((table.met, table.missed), (1, 0), "{}", table.markdown);
        assert!(
            table.markdown.contains("| 8.000 [8.000..9.000] | ratio >= 8 | pass |"),
            "{}",
            table.markdown
        );
    }
}
