//! What the programs measured, and the table of it.

use std::collections::BTreeMap;

use crate::markdown::{number, table};

/// The columns of ratios. What ractor_cluster does stands in ractor's.
const PEERS: [&str; 7] = ["floor", "otp", "xtra", "kameo", "ractor", "actix", "eetf"];

/// Samples by row, in the order in which rows were first seen, and by who did the work.
#[derive(Default)]
pub struct Samples {
    rows: Vec<String>,
    by_row: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
}

impl Samples {
    /// Takes what a program printed: `row TAB who TAB value` a line. Returns how many samples that was.
    pub fn add(&mut self, output: &str) -> usize {
        let mut added = 0;
        for line in output.lines() {
            let mut fields = line.split('\t');
            let (Some(row), Some(who), Some(Ok(value))) =
                (fields.next(), fields.next(), fields.next().map(str::parse::<f64>))
            else {
                continue;
            };
            if !self.by_row.contains_key(row) {
                self.rows.push(row.to_owned());
            }
            let by_whom = self.by_row.entry(row.to_owned()).or_default();
            by_whom.entry(who.to_owned()).or_default().push(value);
            added += 1;
        }
        added
    }

    fn sorted(&self, row: &str, who: &str) -> Option<Vec<f64>> {
        let mut samples = self.by_row.get(row)?.get(who)?.clone();
        samples.sort_by(f64::total_cmp);
        Some(samples)
    }

    /// The median of what one measured for a row.
    pub fn median(&self, row: &str, who: &str) -> Option<f64> {
        let samples = self.sorted(row, who)?;
        samples.get(samples.len() / 2).copied()
    }

    /// What others did for a row: a decoder that knows one kind of result is compared with it for ours into Rust types too.
    pub fn other(&self, row: &str, who: &str) -> Option<f64> {
        self.median(row, who).or_else(|| self.median(row.strip_suffix(", typed")?, who))
    }

    /// Prints ours, and ours divided by each of the others'.
    pub fn print(&self) {
        let mut header = vec!["ns, or as said".to_owned(), "beamline".to_owned(), "min to max".to_owned()];
        header.extend(PEERS.map(str::to_owned));
        let mut rows = vec![header];
        for row in &self.rows {
            let Some(samples) = self.sorted(row, "beamline") else { continue };
            let ours = samples[samples.len() / 2];
            let range = format!("{} to {}", number(samples[0]), number(samples[samples.len() - 1]));
            let ratio = |peer: &&str| {
                let peers: &[&str] = if *peer == "ractor" { &["ractor", "ractor_cluster"] } else { &[peer] };
                let theirs = peers.iter().find_map(|peer| self.other(row, peer));
                theirs.map(|theirs| number(ours / theirs)).unwrap_or_default()
            };
            let mut cells = vec![row.clone(), number(ours), range];
            cells.extend(PEERS.iter().map(ratio));
            rows.push(cells);
        }
        print!("\n{}", table(&rows));
        println!("\nMedians, and ours divided by the others': below 1 ours is faster or smaller.");
    }

    /// Every sample, as the programs print them.
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        for row in &self.rows {
            for (who, values) in &self.by_row[row] {
                values.iter().for_each(|value| lines += &format!("{row}\t{who}\t{value}\n"));
            }
        }
        lines
    }
}
