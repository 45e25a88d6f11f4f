//! What nodes of this library send each other is what they agreed on.

use super::{Checker, Violation};
use crate::trace::Event;

/// No node closes a connection because of what came over it. The network of a simulation cuts, delays and ends what is sent, but never
/// changes it.
#[derive(Debug, Default)]
pub struct Wire;

impl Checker for Wire {
    fn property(&self) -> &'static str {
        "wire"
    }

    fn event(&mut self, event: &Event) -> Result<(), Violation> {
        if event.kind != "protocol error" {
            return Ok(());
        }
        Err(Violation::by(
            "wire",
            event,
            format!("a connection was closed for what came over it: {}", event.detail),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::holds;
    use super::*;

    #[test]
    fn a_connection_that_is_closed_for_what_came_over_it_is_found() {
        holds(Wire, "1 a#1 nodedown n@a 'n@b'");
        // Kinds of the library may have blanks.
        let event = Event {
            at: std::time::Duration::ZERO,
            node: "a".to_owned(),
            incarnation: 1,
            kind: "protocol error".to_owned(),
            detail: "n@a 'n@b' a frame that is too long".to_owned(),
        };
        let violation = Wire.event(&event).unwrap_err();
        assert!(violation.text.contains("a frame that is too long"), "{violation:?}");
    }
}
