//! Processes and the signals between them.
