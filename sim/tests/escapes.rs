//! What would let the real world into a simulated node fails the run, and says what to use instead.
#![expect(clippy::disallowed_types, reason = "this is what must fail")]

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::Term;
use beamline::world::World;
use beamline_sim::{Body, Outcome, Sim};

/// What the run of this program fails with.
fn failure<Fut>(program: fn(World) -> Fut) -> String
where
    Fut: Future<Output = Body> + Send + 'static,
{
    let mut sim = Sim::new(1);
    sim.node("one", program);
    let failure = sim.run().unwrap_err();
    assert!(
        matches!(&failure.outcome, Outcome::Violated(violation) if violation.property == "panic"),
        "{failure}"
    );
    failure.reason
}

fn names_what_to_use(text: &str) {
    for name in ["World::net", "World::clock", "World::disk"] {
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn a_real_socket() {
    names_what_to_use(&failure(|_| async {
        tokio::net::TcpStream::connect("127.0.0.1:1").await?;
        Ok(())
    }));
    names_what_to_use(&failure(|_| async {
        tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        Ok(())
    }));
}

#[test]
fn the_real_world() {
    names_what_to_use(&failure(|_| async {
        World::tokio();
        Ok(())
    }));
    // It is what a node has that is not given one.
    names_what_to_use(&failure(|_| async {
        Node::builder("n@one").cookie("simulated").start().await?;
        Ok(())
    }));
}

struct Dials;

impl GenServer for Dials {
    type Args = ();
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        _: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(Term::from(0)))
    }

    async fn handle_cast(&mut self, _: Term, _: &mut Context<Self>) -> Result<(), ExitReason> {
        let _ = tokio::net::TcpStream::connect("127.0.0.1:1").await;
        Ok(())
    }
}

#[test]
fn a_real_socket_in_a_callback_whose_panics_a_supervisor_would_hide() {
    names_what_to_use(&failure(|world| async move {
        let node = Node::builder("n@one").cookie("simulated").world(world.clone()).start().await?;
        let dials = Dials::start(&node, ()).await?;
        dials.cast(Term::from(1))?;
        std::future::pending().await
    }));
}
