//! The demo: two beamline nodes in this program and, if there is an `erl`, a stock Erlang node beside them.

mod counter;
mod erl;
mod erlang;
mod rust;
mod screen;

use std::time::Duration;

use beamline::epmd::EpmdOptions;
use beamline::node::Node;
use beamline::process::{Context, ExitReason};
use beamline::term::Term;
use beamline::world::World;
use tokio::sync::oneshot;

use self::counter::PLANNED_PANIC;
use self::erl::{Erl, NoErl};
use self::screen::Screen;
use crate::failure::Failure;

const RUST1: &str = "rust1@127.0.0.1";
const RUST2: &str = "rust2@127.0.0.1";
const ERLANG: &str = "erlang@127.0.0.1";
const COOKIE: &str = "demo";
/// Under which the server of the demo is registered.
const COUNTER: &str = "counter";

/// What is on it.
struct Stage {
    screen: Screen,
    world: World,
    epmd_port: u16,
    rust1: Node,
    rust2: Node,
}

pub(crate) async fn run() -> Result<(), Failure> {
    calm_planned_panics();
    let mut stage = open(Screen::new()).await?;
    rust::show(&mut stage).await?;
    let erlang = match Erl::find() {
        Ok(erl) => {
            erlang::show(&mut stage, erl).await?;
            true
        }
        Err(missing) => {
            skip_erlang(&stage.screen, &missing)?;
            false
        }
    };
    let Stage { screen, rust1, rust2, .. } = stage;
    rust2.stop().await;
    rust1.stop().await;
    screen.title(&format!("\nAll {} steps went as they should.", screen.steps()))?;
    if erlang {
        screen.line("To Erlang, the Rust nodes were nodes like any other, and so was Erlang to them.")?;
    }
    screen.line(
        "Next: `beamline --help` lists what else this program does; the folder examples/ has short programs.",
    )
}

/// Starts the two nodes.
async fn open(mut screen: Screen) -> Result<Stage, Failure> {
    let world = World::tokio();
    screen.title("beamline: Rust programs as nodes of an Erlang cluster")?;
    screen.step(
        "Two nodes",
        "A node is a program with a name, to which others can connect. EPMD is Erlang's directory of
         nodes. None runs on the port that is used here, so the first node runs one itself.",
    )?;
    let epmd_port = free_port(&world).await.map_err(|error| screen.failure(&error.to_string()))?;
    let mut nodes = Vec::new();
    for name in [RUST1, RUST2] {
        let who = name.split('@').next().unwrap_or_default();
        screen.prompt(who, &format!("Node::builder({name:?}).cookie({COOKIE:?}).start().await?"))?;
        let mut epmd = EpmdOptions::default();
        epmd.port = epmd_port;
        epmd.server.addresses = vec!["127.0.0.1".to_owned()];
        let node = Node::builder(name).cookie(COOKIE).epmd(epmd).listen("127.0.0.1", 0).start().await;
        let node = node.map_err(|error| screen.failure(&error.to_string()))?;
        screen.seen(format_args!("listens on port {}, EPMD on port {epmd_port}", node.port()))?;
        nodes.push(node);
    }
    match <[Node; 2]>::try_from(nodes) {
        Ok([rust1, rust2]) => Ok(Stage { screen, world, epmd_port, rust1, rust2 }),
        Err(_) => Err(screen.failure("two nodes were to start")),
    }
}

fn skip_erlang(screen: &Screen, missing: &NoErl) -> Result<(), Failure> {
    screen.title("\nSkipped: the steps with a stock Erlang node")?;
    screen.line(format_args!(
        "    {missing}. To see Erlang and Rust call, link to and monitor each\n    \
         other, install it (Debian, Ubuntu: apt install erlang-base; Fedora: dnf install erlang-erts;\n    \
         macOS: brew install erlang), or name an erl in the variable BEAMLINE_ERL."
    ))
}

/// A port for an EPMD of the demo's own: the usual one may be in use.
async fn free_port(world: &World) -> std::io::Result<u16> {
    Ok(world.net.listen("127.0.0.1", 0).await?.local_addr()?.port())
}

/// The crash that the demo plans is shown as what the monitor says of it; a trace beside it would only look like a fault.
fn calm_planned_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some(PLANNED_PANIC) {
            usual(panic);
        }
    }));
}

impl Stage {
    /// Runs `body` as a process of a node, and waits for what comes of it.
    async fn process<T, F>(
        &self,
        node: &Node,
        body: impl FnOnce(Context<Term>) -> F + Send + 'static,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (done, outcome) = oneshot::channel();
        let spawned = node.spawn(|cx| {
            let work = body(cx);
            async move {
                let _ = done.send(work.await);
                ExitReason::Normal
            }
        });
        spawned.map_err(|error| self.screen.failure(&error.to_string()))?;
        match self.world.timeout(Duration::from_secs(10), outcome).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(_)) => Err(self.screen.failure("a process ended early")),
            Err(_) => Err(self.screen.failure("what was waited for did not arrive within 10 seconds")),
        }
    }

    fn failed(&self, error: impl std::fmt::Display) -> Failure {
        self.screen.failure(&error.to_string())
    }
}
