//! The failures that are expected of a node.

use std::collections::BTreeMap;
use std::path::Path;

use crate::checks::Check;

/// The names of checks that are to fail, each with the reason.
pub(crate) struct Expected(BTreeMap<String, String>);

impl Expected {
    /// Reads a file of lines `name: reason`; empty lines and those that begin with `#` say nothing.
    pub(crate) fn read(file: &Path, all: &[Check]) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Self::parse(&text, all).map_err(|error| format!("{}: {error}", file.display()))
    }

    fn parse(text: &str, all: &[Check]) -> Result<Self, String> {
        let mut expected = BTreeMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, reason) = line
                .split_once(": ")
                .filter(|(_, reason)| !reason.trim().is_empty())
                .ok_or_else(|| format!("{line:?} is not of the form `name: reason`"))?;
            if !all.iter().any(|check| check.name == name) {
                return Err(format!("there is no check {name:?}"));
            }
            if expected.insert(name.to_owned(), reason.trim().to_owned()).is_some() {
                return Err(format!("{name} is listed twice"));
            }
        }
        Ok(Self(expected))
    }

    pub(crate) fn reason(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
