//! Supervisors against a model of OTP's rules, and as processes of one node.

mod model;
mod processes;
