//! `sim`: runs simulated clusters by their seeds, and what went wrong in one again.

mod campaign;
mod one;
mod subject;

use std::process::ExitCode;

use beamline_sim::scenario;
use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  sim list                                          which scenarios there are
  sim run --scenario cluster --seeds 0..200         200 runs; the first that fails is shrunk and reported
  sim run --scenario all --seeds 0..50 --double     each seed twice, in two processes, which must agree
  sim run --scenario all --seeds 1000.. --time-budget 600
                                                    as many as fit into ten minutes
  sim replay 17 --scenario cluster --trace          one run, and all that happened in it
  sim replay 17 --scenario cluster --schedule target/sim/cluster-17/regression.json --out /tmp/17
                                                    the same with the shrunk faults; timeline and report in /tmp/17
  sim shrink 17 --scenario cluster                  the fewest faults with which seed 17 still fails

A seed means the same run only in the same commit with the same Cargo.lock.
Exit codes: 0 passed, 1 a property was broken, 2 a run was not deterministic, 3 a checker could not decide, the
simulator failed, or the command line is wrong.";

/// Run simulated clusters: the same code under every failure, from one number.
#[derive(Parser)]
#[command(name = "sim", version, after_help = EXAMPLES)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(campaign::Args),
    Replay(one::ReplayArgs),
    Shrink(one::ShrinkArgs),
    /// Say which scenarios there are.
    List,
}

/// What went wrong that is no finding: a file that is not there, a name that is none.
type Failure = String;

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(told) => {
            let _ = told.print();
            // Not clap's own 2, which here means that a run was not deterministic.
            return if told.use_stderr() { ExitCode::from(3) } else { ExitCode::SUCCESS };
        }
    };
    let code = match options.command {
        Command::Run(args) => campaign::run(&args),
        Command::Replay(args) => one::replay(&args),
        Command::Shrink(args) => one::shrink(&args),
        Command::List => {
            for scenario in scenario::ALL {
                println!("{:<20} {}", scenario.name, scenario.about);
            }
            Ok(0)
        }
    };
    code.map_or_else(
        |failure| {
            eprintln!("sim: {failure}");
            ExitCode::from(3)
        },
        ExitCode::from,
    )
}
