//! The derive macros of beamline: sugar only, each expands to code that a reader could have written.
