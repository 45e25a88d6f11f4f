//! `sim SCENARIO SEED [--trace]`: runs one story and prints the hash of what happened, and with `--trace` all of it.
//! Exit codes: 0 as it should be, 1 the story went wrong, 2 no such story.

use std::process::ExitCode;

use beamline_sim::scenario;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (scenario, seed, trace) = match args.as_slice() {
        [name, seed] => (scenario::find(name), seed.parse().ok(), false),
        [name, seed, flag] if flag == "--trace" => (scenario::find(name), seed.parse().ok(), true),
        _ => (None, None, false),
    };
    let (Some(scenario), Some(seed)) = (scenario, seed) else {
        let names: Vec<_> = scenario::ALL.iter().map(|scenario| scenario.name).collect();
        eprintln!("usage: sim {} SEED [--trace]", names.join("|"));
        return ExitCode::from(2);
    };
    match scenario.run(seed, None).passed() {
        Ok(happened) => {
            if trace {
                for event in happened.events() {
                    println!("{event}");
                }
            }
            println!("{:016x}", happened.hash());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
