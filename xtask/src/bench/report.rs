//! Tables and plots.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

/// What one run measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Per second.
    pub(super) rate: f64,
    pub(super) latency: Option<Latency>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Latency {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) p999: Duration,
}

/// Rows of samples, shown as medians, with ratios to the first row.
pub(super) struct Report {
    title: String,
    /// What rates count.
    unit: &'static str,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    samples: Vec<Sample>,
    /// Bytes, at the most.
    memory: Option<u64>,
}

impl Row {
    fn rates(&self) -> Vec<f64> {
        let mut rates: Vec<f64> = self.samples.iter().map(|sample| sample.rate).collect();
        rates.sort_by(f64::total_cmp);
        rates
    }

    fn rate(&self) -> f64 {
        median(self.rates())
    }

    fn latency(&self, of: impl Fn(&Latency) -> Duration) -> Option<f64> {
        let latencies = self.samples.iter().filter_map(|sample| sample.latency);
        let times: Vec<f64> = latencies.map(|it| of(&it).as_secs_f64() * 1e3).collect();
        (!times.is_empty()).then(|| median(times))
    }
}

impl Report {
    pub(super) fn new(title: impl Into<String>, unit: &'static str) -> Self {
        Self {
            title: title.into(),
            unit,
            rows: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, row: &str, sample: Sample) {
        self.row(row).samples.push(sample);
    }

    /// Notes the memory that a server has taken, of which the most counts.
    pub(super) fn add_memory(&mut self, row: &str, bytes: u64) {
        let memory = &mut self.row(row).memory;
        *memory = Some(memory.map_or(bytes, |most| most.max(bytes)));
    }

    fn row(&mut self, name: &str) -> &mut Row {
        let index = self.rows.iter().position(|row| row.name == name);
        let index = index.unwrap_or_else(|| {
            self.rows.push(Row {
                name: name.to_owned(),
                samples: Vec::new(),
                memory: None,
            });
            self.rows.len() - 1
        });
        &mut self.rows[index]
    }

    fn find(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The median rate of a row.
    pub(super) fn rate(&self, name: &str) -> Option<f64> {
        self.find(name).map(Row::rate)
    }

    /// A sentence on how the rates of two rows compare with what is wanted of them.
    pub(super) fn compare(&self, row: &str, base: &str, least: f64) -> String {
        let ratio = self.rate(row).zip(self.rate(base));
        verdict(
            row,
            base,
            ratio.map(|(rate, base)| rate / base),
            "at least",
            least,
        )
    }

    /// The same for the 99th percentile of the latency, which is to be low.
    pub(super) fn compare_p99(&self, row: &str, base: &str, most: f64) -> String {
        let p99 = |name| self.find(name)?.latency(|latency| latency.p99);
        let ratio = p99(row).zip(p99(base)).map(|(row, base)| row / base);
        verdict(row, base, ratio, "at most", most)
    }

    /// The table's rates as bars.
    pub(super) fn plot(&self) -> String {
        const WIDTH: f64 = 760.0;
        const LABELS: f64 = 300.0;
        const VALUES: f64 = 90.0;
        const BAR: f64 = 26.0;
        const TOP: f64 = 44.0;
        let most = self.rows.iter().map(Row::rate).fold(1.0, f64::max);
        let height = TOP + BAR * self.rows.len() as f64 + 12.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"12\" y=\"26\" font-weight=\"bold\">{}, {}</text>\n",
            escape(&self.title),
            self.unit
        );
        for (index, row) in self.rows.iter().enumerate() {
            let rates = row.rates();
            let place = |rate: f64| LABELS + (WIDTH - LABELS - VALUES) * rate / most;
            let top = TOP + BAR * index as f64;
            let (text, middle, bar) = (top + 17.0, top + BAR / 2.0, BAR - 8.0);
            let fill = if row.name.starts_with("wasmtime-unitd") {
                "#3465a4"
            } else {
                "#babdb6"
            };
            let (least, most) = (
                place(rates.first().copied().unwrap_or(0.0)),
                place(rates.last().copied().unwrap_or(0.0)),
            );
            let width = place(row.rate()) - LABELS;
            // Writing to a string cannot fail.
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\n\
                 <rect x=\"{LABELS}\" y=\"{}\" width=\"{width:.1}\" height=\"{bar}\" fill=\"{fill}\"/>\n\
                 <path d=\"M{least:.1} {middle}H{most:.1}\" stroke=\"black\"/>\n\
                 <text x=\"{:.1}\" y=\"{text}\">{:.0}</text>",
                LABELS - 8.0,
                escape(&row.name),
                top + 4.0,
                most.max(LABELS + width) + 6.0,
                row.rate(),
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

pub(super) fn verdict(
    row: &str,
    base: &str,
    ratio: Option<f64>,
    bound: &str,
    wanted: f64,
) -> String {
    let Some(ratio) = ratio else {
        return format!("- {row} to {base}: not measured");
    };
    let is_reached = if bound == "at least" {
        ratio >= wanted
    } else {
        ratio <= wanted
    };
    let reached = reached(is_reached);
    format!("- {row} to {base}: {ratio:.2}; wanted: {bound} {wanted}: {reached}")
}

/// Whether a figure is as wanted.
pub(super) fn reached(is_reached: bool) -> &'static str {
    if is_reached {
        "reached"
    } else {
        "**not reached**"
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| {} | {} | from – to | ratio | p50 | p99 | p99.9 | peak memory |",
            self.title, self.unit
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- | --- |")?;
        let first = self.rows.first().map_or(f64::NAN, Row::rate);
        for row in &self.rows {
            let (rates, rate) = (row.rates(), row.rate());
            let (least, most) = (rates.first().unwrap_or(&0.0), rates.last().unwrap_or(&0.0));
            let time = |time: Option<f64>| time.map_or("–".into(), |ms| format!("{ms:.2} ms"));
            let memory = row
                .memory
                .map_or("–".into(), |bytes| format!("{} MiB", bytes >> 20));
            writeln!(
                f,
                "| {} | {rate:.0} | {least:.0} – {most:.0} | {:.2} | {} | {} | {} | {memory} |",
                row.name,
                rate / first,
                time(row.latency(|latency| latency.p50)),
                time(row.latency(|latency| latency.p99)),
                time(row.latency(|latency| latency.p999)),
            )?;
        }
        Ok(())
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Of an even count, the mean of the middle two.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let upper = numbers.len() / 2;
    let lower = numbers.len().saturating_sub(1) / 2;
    let middle = numbers.get(lower..=upper).unwrap_or_default();
    middle.iter().sum::<f64>() / middle.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("A & B", "requests/s");
        let rates = [
            ("wasmtime serve", 100.0),
            ("wasmtime-unitd", 50.0),
            ("wasmtime serve", 300.0),
            ("wasmtime-unitd", 150.0),
            ("wasmtime serve", 200.0),
            ("wasmtime-unitd", 100.0),
        ];
        for (row, rate) in rates {
            let latency = Latency {
                p50: Duration::from_millis(1),
                p99: Duration::from_micros(if rate > 160.0 { 5000 } else { 2500 }),
                p999: Duration::from_millis(9),
            };
            let latency = Some(latency);
            report.add(row, Sample { rate, latency });
        }
        report.add_memory("wasmtime-unitd", 5 << 20);
        report.add_memory("wasmtime-unitd", 3 << 20);
        report
    }

    #[test]
    fn rows_have_medians_and_ratios() {
        let text = report().to_string();
        let rows: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| wasmtime serve | 200 | 100 – 300 | 1.00 | 1.00 ms | 5.00 ms | 9.00 ms | – |",
                "| wasmtime-unitd | 100 | 50 – 150 | 0.50 | 1.00 ms | 2.50 ms | 9.00 ms | 5 MiB |",
            ]
        );
    }

    #[test]
    fn the_median_of_an_even_count_is_between_the_middle_two() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![1.0, 9.0, 2.0, 4.0]), 3.0);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn what_is_wanted_is_held_against_what_is() {
        let report = report();
        let better = report.compare("wasmtime serve", "wasmtime-unitd", 2.0);
        assert!(
            better.ends_with("2.00; wanted: at least 2: reached"),
            "{better}"
        );
        let worse = report.compare("wasmtime-unitd", "wasmtime serve", 0.6);
        assert!(worse.ends_with("**not reached**"), "{worse}");
        let faster = report.compare_p99("wasmtime-unitd", "wasmtime serve", 0.5);
        assert!(faster.ends_with(": reached"), "{faster}");
        let unknown = report.compare("another server", "wasmtime serve", 1.0);
        assert!(unknown.ends_with("not measured"), "{unknown}");
    }

    #[test]
    fn a_plot_has_a_bar_for_each_row() {
        let svg = report().plot();
        assert_eq!(svg.matches("<rect x=").count(), 2);
        assert!(svg.contains("A &amp; B, requests/s"));
        // The longest of the two, which is no wider than there is room.
        assert!(svg.contains("width=\"370.0\""), "{svg}");
    }
}
