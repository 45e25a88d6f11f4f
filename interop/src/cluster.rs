//! Room for a cluster: an EPMD of its own, and the nodes that register with it.

use std::time::{Duration, Instant};

use beamline::epmd::{Server, ServerOptions};
use beamline::node::{Builder, Node};
use beamline::world::World;

use crate::fixture::Fixture;
use crate::{Erl, ErlNode, ErlNodeBuilder, erl};

/// The cookie of all nodes, unless a test wants another.
pub const COOKIE: &str = "beamline";

/// An EPMD on a free port. All names are on the host `127.0.0.1`, and are given without it.
pub struct Cluster {
    erl: Erl,
    epmd: Server,
}

impl Cluster {
    /// Makes one, if there is an `erl`; see [`erl`](crate::erl()).
    ///
    /// # Panics
    /// If there is none and it is required, or the EPMD does not start.
    pub async fn start() -> Option<Self> {
        let erl = erl()?;
        let mut options = ServerOptions::default();
        options.addresses = vec!["127.0.0.1".to_owned()];
        options.port = 0;
        let epmd = Server::start(&World::tokio(), options).await.expect("loopback has free ports");
        Some(Self { erl, epmd })
    }

    /// As [`start`](Self::start), if that `erl` has an application of Erlang/OTP, such as `ssl`.
    ///
    /// # Panics
    /// If it is required, and has not.
    pub async fn start_with(application: &str) -> Option<Self> {
        let cluster = Self::start().await?;
        cluster.erl.has(application).then_some(cluster)
    }

    /// The port of its EPMD.
    pub fn epmd_port(&self) -> u16 {
        self.epmd.port()
    }

    /// A stock node that is to start.
    pub fn erl(&self, name: &str) -> ErlNodeBuilder {
        self.erl.node(&format!("{name}@127.0.0.1"), self.epmd_port()).cookie(COOKIE)
    }

    /// A node in this program, that is to start.
    pub fn builder(&self, name: &str) -> Builder {
        Node::builder(format!("{name}@127.0.0.1"))
            .cookie(COOKIE)
            .epmd_port(self.epmd_port())
            .listen("127.0.0.1", 0)
    }

    /// A node in this program.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn node(&self, name: &str) -> Node {
        self.builder(name).start().await.expect("the node starts")
    }

    /// Two nodes to compare: the stock one `erl`, which has this module and prints no reports, and `rust` in this program, which it
    /// knows as `Rust`.
    ///
    /// # Panics
    /// If one does not start.
    pub async fn pair(&self, module: &str) -> (ErlNode, Node) {
        let mut erl = self.erl("erl").start().await;
        erl.load(module).await;
        erl.eval("logger:set_primary_config(level, none), Rust = 'rust@127.0.0.1'").await;
        (erl, self.node("rust").await)
    }

    /// A running `fixture-node`, with further options such as `["--hidden"]`.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn fixture(&self, name: &str, args: &[&str]) -> Fixture {
        Fixture::start(&format!("{name}@127.0.0.1"), self.epmd_port(), args).await
    }
}

/// Waits until `is_it` holds.
///
/// # Panics
/// If it does not within a minute: a test may run sixteen nodes beside others on a busy machine.
pub async fn eventually(what: &str, mut is_it: impl AsyncFnMut() -> bool) {
    eventually_of(what, &mut (), async |()| is_it().await, async |()| String::new()).await;
}

/// Waits until `is_it` holds of something. If it does not, the failure shows what it is `instead`.
///
/// # Panics
/// If it does not within a minute.
pub async fn eventually_of<T>(
    what: &str,
    of: &mut T,
    mut is_it: impl AsyncFnMut(&mut T) -> bool,
    instead: impl AsyncFnOnce(&mut T) -> String,
) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_it(of).await {
        if Instant::now() >= end {
            panic!("{what}: not within a minute {}", instead(of).await);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for `future`.
///
/// # Panics
/// If it takes longer than a minute.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within a minute"),
    }
}
