//! Shrunk schedules that are kept: each is a test that the bug which it found stays away.

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::Schedule;

/// A schedule that once broke a property, as a file of JSON. A seed means another run when what is drawn from it
/// changes; a schedule stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// Which scenario it is of.
    pub scenario: String,
    /// Decides all that the schedule does not.
    pub seed: u64,
    /// What it broke.
    pub property: String,
    /// What was wrong, and what was done about it.
    pub comment: String,
    /// The faults.
    pub schedule: Schedule,
}

/// A file that does not hold a [`Regression`].
#[derive(Debug)]
pub struct RegressionError {
    path: PathBuf,
    why: String,
}

impl Display for RegressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

impl std::error::Error for RegressionError {}

impl Regression {
    /// Reads one.
    ///
    /// # Errors
    /// If there is no such file, or no regression in it.
    pub fn read(path: &Path) -> Result<Self, RegressionError> {
        let error = |why: &dyn Display| RegressionError { path: path.to_owned(), why: why.to_string() };
        let text = fs::read_to_string(path).map_err(|e| error(&e))?;
        serde_json::from_str(&text).map_err(|e| error(&e))
    }

    /// All of a folder, by the names of their files.
    ///
    /// # Errors
    /// If the folder cannot be read, or any `.json` in it.
    pub fn read_all(folder: &Path) -> Result<Vec<(String, Self)>, RegressionError> {
        let error = |why: std::io::Error| RegressionError { path: folder.to_owned(), why: why.to_string() };
        let mut all = Vec::new();
        for entry in fs::read_dir(folder).map_err(error)? {
            let path = entry.map_err(error)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                all.push((name, Self::read(&path)?));
            }
        }
        all.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(all)
    }

    /// The text of the file.
    pub fn to_json(&self) -> String {
        // Data of strings and numbers: it has a text in any case.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// Reads a schedule: that of a [`Regression`], or one alone.
///
/// # Errors
/// If the text is neither.
pub fn parse_schedule(text: &str) -> Result<Schedule, String> {
    // Which of the two it is shows in whether it names a scenario; a mistake is then reported where it is.
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let parsed = if value.get("scenario").is_some() {
        serde_json::from_str(text).map(|regression: Regression| regression.schedule)
    } else {
        serde_json::from_str(text)
    };
    parsed.map_err(|error| error.to_string())
}

/// As [`parse_schedule`], from a file.
///
/// # Errors
/// If it cannot be read, or holds neither.
pub fn read_schedule(path: &Path) -> Result<Schedule, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse_schedule(&text).map_err(|error| format!("{}: {error}", path.display()))
}
