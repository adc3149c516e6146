//! Tables.

use std::time::Duration;

use super::load::Sample;

/// Rows of samples, printed as medians in Markdown, with ratios to the first row.
#[derive(Default)]
pub(super) struct Report(Vec<(String, Vec<Sample>)>);

impl Report {
    pub(super) fn add(&mut self, row: &str, sample: Sample) {
        match self.0.iter_mut().find(|(name, _)| name == row) {
            Some((_, samples)) => samples.push(sample),
            None => self.0.push((row.to_owned(), vec![sample])),
        }
    }

    /// The table, under these words.
    pub(super) fn print(&self, title: &str) {
        println!("\n{title}\n");
        print!("{self}");
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "| | requests/s | from – to | ratio | p50 | p99 |")?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- |")?;
        let mut first = None;
        for (name, samples) in &self.0 {
            let mut rates: Vec<f64> = samples.iter().map(|s| s.requests_per_second).collect();
            rates.sort_by(f64::total_cmp);
            let rate = median(&rates);
            let ratio = rate / *first.get_or_insert(rate);
            let (least, most) = (rates.first().unwrap_or(&0.0), rates.last().unwrap_or(&0.0));
            writeln!(
                f,
                "| {name} | {rate:.0} | {least:.0} – {most:.0} | {ratio:.2} | {} | {} |",
                median_of(samples, |sample| sample.median),
                median_of(samples, |sample| sample.p99),
            )?;
        }
        Ok(())
    }
}

fn median_of(samples: &[Sample], of: impl Fn(&Sample) -> Duration) -> String {
    let mut times: Vec<f64> = samples
        .iter()
        .map(|sample| of(sample).as_secs_f64())
        .collect();
    times.sort_by(f64::total_cmp);
    format!("{:.2} ms", median(&times) * 1e3)
}

/// Of sorted numbers.
fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_medians_and_ratios() {
        let mut report = Report::default();
        for (row, rate) in [
            ("a", 100.0),
            ("b", 50.0),
            ("a", 300.0),
            ("b", 150.0),
            ("a", 200.0),
            ("b", 100.0),
        ] {
            report.add(
                row,
                Sample {
                    requests_per_second: rate,
                    median: Duration::from_millis(1),
                    p99: Duration::from_micros(2500),
                },
            );
        }
        let text = report.to_string();
        let rows: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| a | 200 | 100 – 300 | 1.00 | 1.00 ms | 2.50 ms |",
                "| b | 100 | 50 – 150 | 0.50 | 1.00 ms | 2.50 ms |",
            ]
        );
    }
}
