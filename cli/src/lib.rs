//! The binaries beamline and beamline-epmd
