//! `registered NAME EPMD_PORT`: a process that is registered with EPMD, or is the daemon, until it is killed. For
//! tests in which one dies.

use beamline::epmd::{EpmdOptions, Registered, Registration};
use beamline::world::World;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, port] = args.as_slice() else { return Err("usage: registered NAME EPMD_PORT".into()) };
    let mut options = EpmdOptions::default();
    options.port = port.parse()?;
    options.server.addresses = vec!["127.0.0.1".to_owned()];
    let mut registered = Registered::start(&World::tokio(), options, Registration::new(name, 1)).await?;
    println!("{}", registered.creation());
    loop {
        println!("{:?} {}", registered.changed().await, registered.creation());
    }
}
