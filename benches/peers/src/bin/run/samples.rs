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

    fn get(&self, row: &str, who: &str) -> Option<&[f64]> {
        Some(self.by_row.get(row)?.get(who)?)
    }

    /// The median of what one measured for a row.
    pub fn median(&self, row: &str, who: &str) -> Option<f64> {
        Some(median(&sorted(self.get(row, who)?)))
    }

    /// What one took for a row divided by what another did: the median of what each round says, as a machine that is slow for some seconds is so
    /// for both in the same rounds. Where they have not as many samples, of their medians. A decoder that knows one kind of result is compared
    /// with it for ours into Rust types too.
    pub fn ratio(&self, row: &str, who: &str, whom: &str) -> Option<f64> {
        let ours = self.get(row, who)?;
        let theirs = self.get(row, whom).or_else(|| self.get(row.strip_suffix(", typed")?, whom))?;
        if ours.len() != theirs.len() {
            return Some(median(&sorted(ours)) / median(&sorted(theirs)));
        }
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        Some(median(&sorted(&ratios)))
    }

    /// Prints ours, and ours divided by each of the others'.
    pub fn print(&self) {
        let mut header = vec!["ns, or as said".to_owned(), "beamline".to_owned(), "min to max".to_owned()];
        header.extend(PEERS.map(str::to_owned));
        let mut rows = vec![header];
        for row in &self.rows {
            let Some(samples) = self.get(row, "beamline") else { continue };
            let samples = sorted(samples);
            let ours = median(&samples);
            let range = format!("{} to {}", number(samples[0]), number(samples[samples.len() - 1]));
            let ratio = |peer: &&str| {
                let peers: &[&str] = if *peer == "ractor" { &["ractor", "ractor_cluster"] } else { &[peer] };
                let ratio = peers.iter().find_map(|peer| self.ratio(row, "beamline", peer));
                ratio.map(number).unwrap_or_default()
            };
            let mut cells = vec![row.clone(), number(ours), range];
            cells.extend(PEERS.iter().map(ratio));
            rows.push(cells);
        }
        print!("\n{}", table(&rows));
        println!(
            "\nMedians, and ours divided by the others' of the same round: below 1 ours is faster or smaller."
        );
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

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    samples
}

/// Of some that are in order.
fn median(samples: &[f64]) -> f64 {
    samples[samples.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_what_was_measured_side_by_side() {
        let mut samples = Samples::default();
        // The machine is slow in two rounds of five for ours, and in three for the floor, as the third was between them.
        for (ours, floor) in [(11, 10), (11, 10), (11, 20), (22, 20), (22, 20)] {
            samples.add(&format!("row\tbeamline\t{ours}\nrow\tfloor\t{floor}\n"));
        }
        assert_eq!(samples.ratio("row", "beamline", "floor"), Some(1.1));
        samples.add("row\totp\t22\n");
        assert_eq!(samples.ratio("row", "beamline", "otp"), Some(0.5), "one sample beside five");
        assert_eq!(samples.ratio("row", "beamline", "actix"), None);
    }
}
