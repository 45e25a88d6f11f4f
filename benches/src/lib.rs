//! Benchmarks of beamline, each beside its floor
