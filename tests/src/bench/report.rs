//! What was measured, as a table and as JSON. It never leaves a missed target unsaid.

use anyhow::Result;
use serde::Serialize;
use testbed::stats::median;

use super::first_number;
use super::paired::{Estimate, Paired};

/// Load average above which a machine is called busy.
const QUIET_LOAD: f64 = 0.7;

/// One number with what it is compared to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    what: String,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    guarded: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bare: Option<f64>,
    /// Guarded against bare, or the number itself, with an interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<Compared>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
    samples: usize,
}

/// How two sides compare.
#[derive(Clone, Copy, Debug, Serialize)]
struct Compared {
    /// `ratio`, or the unit of a difference.
    kind: &'static str,
    #[serde(flatten)]
    estimate: Estimate,
}

impl Row {
    /// A number that is compared with nothing.
    pub(crate) fn single(what: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self {
            what: what.into(),
            unit,
            guarded: Some(value),
            bare: None,
            compared: None,
            target: None,
            met: None,
            samples: 1,
        }
    }

    /// Medians of rounds and the median of their ratios.
    pub(crate) fn ratio(what: impl Into<String>, unit: &'static str, paired: &Paired) -> Self {
        Self::compared(what, unit, paired, "ratio", paired.ratio())
    }

    /// Medians of rounds and the median of their differences.
    pub(crate) fn difference(what: impl Into<String>, unit: &'static str, paired: &Paired) -> Self {
        Self::compared(what, unit, paired, unit, paired.difference())
    }

    fn compared(
        what: impl Into<String>,
        unit: &'static str,
        paired: &Paired,
        kind: &'static str,
        estimate: Estimate,
    ) -> Self {
        Self {
            bare: median(&paired.bare),
            compared: Some(Compared { kind, estimate }),
            samples: paired.guarded.len(),
            ..Self::single(what, unit, median(&paired.guarded).unwrap_or(f64::NAN))
        }
    }

    /// A number and what it is compared to, without an interval.
    pub(crate) fn both(
        what: impl Into<String>,
        unit: &'static str,
        guarded: f64,
        bare: f64,
    ) -> Self {
        Self { bare: Some(bare), ..Self::single(what, unit, guarded) }
    }

    /// How many samples the number was made of.
    pub(crate) fn of(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }

    /// What it should be, and whether it is.
    pub(crate) fn target(mut self, target: impl Into<String>, met: bool) -> Self {
        self.target = Some(target.into());
        self.met = Some(met);
        self
    }

    fn cells(&self) -> [String; 6] {
        let number = |value: Option<f64>| {
            value.map_or("-".to_owned(), |value| format!("{} {}", show(value), self.unit))
        };
        let compared = self.compared.map_or("-".to_owned(), |Compared { kind, estimate }| {
            let Estimate { median, low, high } = estimate;
            if kind == "ratio" {
                format!("x {median:.3} [{low:.3}, {high:.3}]")
            } else {
                format!("{} [{}, {}] {kind}", signed(median), signed(low), signed(high))
            }
        });
        let verdict = match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        [
            self.what.clone(),
            number(self.guarded),
            number(self.bare),
            compared,
            self.target.clone().unwrap_or_default(),
            verdict.to_owned(),
        ]
    }
}

fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "" } else { "+" };
    format!("{sign}{}", show(value))
}

/// Three or four digits that count.
fn show(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 0.1 => format!("{value:.4}"),
        size if size < 10.0 => format!("{value:.3}"),
        size if size < 100.0 => format!("{value:.2}"),
        size if size < 10_000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    kernel: String,
    processors: usize,
    quick: bool,
    /// One-minute load before the first and after the last benchmark.
    load_before: f64,
    load_after: f64,
    benchmarks: Vec<Section>,
}

#[derive(Debug, Serialize)]
struct Section {
    name: &'static str,
    rows: Vec<Row>,
}

impl Report {
    /// Notes what the machine is and how busy it was.
    pub(crate) fn begin(quick: bool) -> Result<Self> {
        let load_before = first_number("/proc/loadavg")?;
        if load_before > QUIET_LOAD {
            eprintln!("the machine is busy (load {load_before}): the numbers will show it");
        }
        let name = nix::sys::utsname::uname()?;
        Ok(Self {
            schema: "guard.bench/1",
            kernel: name.release().to_string_lossy().into_owned(),
            processors: std::thread::available_parallelism()?.get(),
            quick,
            load_before,
            load_after: 0.0,
            benchmarks: Vec::new(),
        })
    }

    /// Adds the rows of one benchmark.
    pub(crate) fn add(&mut self, name: &'static str, rows: Vec<Row>) {
        for row in &rows {
            let [what, guarded, bare, compared, _, verdict] = row.cells();
            eprintln!("  {what}: {guarded}, bare {bare}, {compared} {verdict}");
        }
        self.benchmarks.push(Section { name, rows });
    }

    /// Notes the load at the end.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.load_after = first_number("/proc/loadavg")?;
        Ok(())
    }

    /// Whether no target was missed.
    pub(crate) fn met(&self) -> bool {
        self.benchmarks.iter().flat_map(|section| &section.rows).all(|row| row.met != Some(false))
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let head = ["", "guarded", "bare", "compared [95 %]", "target", ""];
        let mut lines = vec![head.map(str::to_owned)];
        for section in &self.benchmarks {
            lines.extend(section.rows.iter().map(|row| {
                let mut cells = row.cells();
                cells[0] = format!("{}: {}", section.name, cells[0]);
                cells
            }));
        }
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        let widths: Vec<usize> = (0..head.len()).map(|c| width(c).unwrap_or(0)).collect();
        let mut text = format!(
            "Linux {}, {} processors, load {} before and {} after{}\n\n",
            self.kernel,
            self.processors,
            self.load_before,
            self.load_after,
            if self.quick { ", QUICK: not for numbers" } else { "" },
        );
        for line in &lines {
            for (cell, width) in line.iter().zip(&widths) {
                text.push_str(cell);
                text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.len()) + 2));
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }
}
