//! Why a command did not do what it was asked to.

use std::fmt;
use std::process::ExitCode;

/// A line that names the fault and what to do about it, and the exit code that goes with it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// The command line was right; something else is not.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    /// The command line is wrong.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { code: 2, text: text.into() }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
