//! What a command has to know of the cluster: its cookie, its EPMD, its nodes' names.

use std::path::PathBuf;

use beamline::epmd::{EPMD_PORT, EpmdError, EpmdOptions};
use beamline::term::Atom;
use clap::Args;

use crate::failure::Failure;

#[derive(Args)]
pub(crate) struct Cluster {
    /// The secret that all nodes of the cluster share [default: what ~/.erlang.cookie holds]
    #[arg(long, env = "BEAMLINE_COOKIE", hide_env_values = true)]
    cookie: Option<String>,
    #[command(flatten)]
    epmd: Epmd,
}

#[derive(Args)]
pub(crate) struct Epmd {
    /// The port of EPMD, Erlang's directory of nodes
    #[arg(long, env = "ERL_EPMD_PORT", hide_env_values = true, value_name = "PORT", default_value_t = EPMD_PORT)]
    pub(crate) epmd_port: u16,
}

/// A cookie, and where it is from: what a reader has to know when it is the wrong one.
pub(crate) struct Cookie {
    pub(crate) text: String,
    pub(crate) origin: String,
}

impl Cluster {
    pub(crate) fn epmd_port(&self) -> u16 {
        self.epmd.epmd_port
    }

    /// For a node that listens on this address: if no EPMD runs it is one itself, for those who can reach the node.
    pub(crate) fn epmd(&self, listen: &str) -> EpmdOptions {
        let mut options = EpmdOptions::default();
        options.port = self.epmd_port();
        options.server.addresses = vec![listen.to_owned()];
        if !matches!(listen, "0.0.0.0" | "127.0.0.1") {
            // Nodes of this host ask there.
            options.server.addresses.push("127.0.0.1".to_owned());
        }
        options
    }

    pub(crate) fn cookie(&self) -> Result<Cookie, Failure> {
        // No Erlang node has an empty cookie; an empty variable is as good as none.
        if let Some(text) = self.cookie.as_ref().filter(|text| !text.is_empty()) {
            let origin = "--cookie or BEAMLINE_COOKIE".to_owned();
            return Ok(Cookie { text: text.clone(), origin });
        }
        let file = std::env::home_dir().map(|home| home.join(".erlang.cookie"));
        let file = file.unwrap_or_else(|| PathBuf::from("~/.erlang.cookie"));
        match std::fs::read_to_string(&file) {
            // Erlang takes the file's first line.
            Ok(text) => Ok(Cookie {
                text: text.lines().next().unwrap_or_default().to_owned(),
                origin: file.display().to_string(),
            }),
            Err(error) => Err(Failure::failed(format!(
                "no cookie: give --cookie, or set BEAMLINE_COOKIE ({}: {error})",
                file.display()
            ))),
        }
    }
}

/// A name in the form `name@host`.
#[derive(Clone)]
pub(crate) struct NodeName {
    pub(crate) atom: Atom,
    pub(crate) alive: String,
    pub(crate) host: String,
}

impl std::str::FromStr for NodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let atom = Atom::new(text).map_err(|error| error.to_string())?;
        match text.split_once('@') {
            Some((alive, host)) if !alive.is_empty() && !host.is_empty() && !host.contains('@') => {
                Ok(Self { atom, alive: alive.to_owned(), host: host.to_owned() })
            }
            _ => Err("a node's name is NAME@HOST, such as app@127.0.0.1".to_owned()),
        }
    }
}

/// What to tell of a daemon that is no help.
pub(crate) fn epmd_failure(error: &EpmdError) -> Failure {
    Failure::failed(match error {
        EpmdError::NoDaemon { daemon, source } => {
            format!(
                "no EPMD answers at {daemon} ({source}), so no node runs there; is it another --epmd-port?"
            )
        }
        error => error.to_string(),
    })
}
