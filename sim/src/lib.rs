//! The simulated world of beamline
