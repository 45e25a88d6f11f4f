//! `beamline names`: what an EPMD knows.

use std::fmt::Write;

use beamline::epmd;
use beamline::world::World;

use crate::cluster::{Epmd, epmd_failure};
use crate::failure::Failure;

/// List the nodes that are registered with a host's EPMD
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  beamline names\n  beamline names db.example.org --epmd-port 4370")]
pub(crate) struct Args {
    /// The host
    #[arg(default_value = "127.0.0.1")]
    host: String,
    #[command(flatten)]
    epmd: Epmd,
}

pub(crate) async fn run(args: Args) -> Result<String, Failure> {
    let names = epmd::names(&World::tokio(), &args.host, args.epmd.epmd_port).await;
    Ok(table(names.map_err(|error| epmd_failure(&error))?.nodes))
}

fn table(mut nodes: Vec<(String, u16)>) -> String {
    nodes.sort();
    let width = nodes.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max("NAME".len());
    let mut table = format!("{:width$}  {:>5}", "NAME", "PORT");
    for (name, port) in nodes {
        // Writing to a string cannot fail.
        let _ = write!(table, "\n{name:width$}  {port:>5}");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn the_table_is_as_wide_as_its_longest_name() {
        let nodes = vec![("shop".to_owned(), 40123), ("a_long_name".to_owned(), 99)];
        assert_eq!(table(nodes), "NAME          PORT\na_long_name     99\nshop         40123");
    }

    #[test]
    fn without_nodes_there_is_only_the_heading() {
        assert_eq!(table(Vec::new()), "NAME   PORT");
    }
}
