//! What the demo prints: numbered steps, what is typed at a prompt, and what comes of it.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use crate::failure::Failure;

const INDENT: &str = "    ";
const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const CYAN: &str = "36";

pub(super) struct Screen {
    colour: bool,
    steps: u32,
}

impl Screen {
    /// In colours only where somebody looks, who does not mind them (<https://no-color.org>).
    pub(super) fn new() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colour: std::io::stdout().is_terminal() && !unwanted, steps: 0 }
    }

    /// How many steps there were.
    pub(super) fn steps(&self) -> u32 {
        self.steps
    }

    pub(super) fn line(&self, text: impl Display) -> Result<(), Failure> {
        crate::print(text)
    }

    pub(super) fn title(&self, text: &str) -> Result<(), Failure> {
        self.line(self.in_colour(BOLD, text))
    }

    /// A step: what is done, and in a line or two why it matters.
    pub(super) fn step(&mut self, title: &str, why: &str) -> Result<(), Failure> {
        self.steps += 1;
        let title = self.in_colour(BOLD, &format!("{:2}  {title}", self.steps));
        self.line(format_args!("\n{title}"))?;
        for line in why.lines() {
            self.line(format_args!("{INDENT}{}", self.in_colour(DIM, line.trim())))?;
        }
        Ok(())
    }

    /// What one of the nodes is told to do.
    pub(super) fn prompt(&self, who: &str, code: &str) -> Result<(), Failure> {
        self.line(format_args!("{INDENT}{} {code}", self.in_colour(CYAN, &format!("{who}>"))))
    }

    /// What is typed at the system's own prompt.
    pub(super) fn command(&self, command: &str) -> Result<(), Failure> {
        self.line(format_args!("{INDENT}{} {command}", self.in_colour(CYAN, "$")))
    }

    /// What came of it.
    pub(super) fn seen(&self, what: impl Display) -> Result<(), Failure> {
        self.line(format_args!("{INDENT}{}", self.in_colour(GREEN, &what.to_string())))
    }

    /// What came of it, which has to be this.
    pub(super) fn expect(&self, got: impl Display, want: impl Display) -> Result<(), Failure> {
        let (got, want) = (got.to_string(), want.to_string());
        self.seen(&got)?;
        self.must(got == want, &format!("{want} was expected, not {got}"))
    }

    /// Ends the demo if something is not as it has to be.
    pub(super) fn must(&self, fine: bool, fault: &str) -> Result<(), Failure> {
        if fine { Ok(()) } else { Err(self.failure(fault)) }
    }

    pub(super) fn failure(&self, fault: &str) -> Failure {
        // The line stands below the step's, on a terminal at least.
        let _ = std::io::stdout().flush();
        Failure::failed(format!("the demo failed in step {}: {fault}", self.steps))
    }

    fn in_colour(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
