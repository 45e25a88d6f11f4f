//! The steps between the two beamline nodes.

use std::time::Duration;

use beamline::gen_server::GenServer;
use beamline::process::ExitReason;
use beamline::term::{Atom, ParseError, Term};

use super::counter::{Ask, AskClient, Counter, Tell};
use super::{COUNTER, RUST2, Stage};
use crate::failure::Failure;

pub(super) async fn show(stage: &mut Stage) -> Result<(), Failure> {
    ping(stage).await?;
    call(stage).await?;
    deferred_reply(stage).await?;
    link(stage).await?;
    crash(stage).await?;
    alias(stage).await
}

async fn ping(stage: &mut Stage) -> Result<(), Failure> {
    stage.screen.step(
        "Connect",
        "Nodes connect when they first need each other. The cookie is the secret that lets them.",
    )?;
    ping_rust2(stage).await?;
    stage.screen.prompt("rust1", "node.nodes()")?;
    stage.screen.expect(list(&stage.rust1.nodes()), format!("['{RUST2}']"))
}

async fn ping_rust2(stage: &Stage) -> Result<(), Failure> {
    stage.screen.prompt("rust1", &format!("node.ping({RUST2:?}).await"))?;
    // The same, with the reason if it fails.
    stage.rust1.try_ping(RUST2).await.map_err(|error| stage.failed(error))?;
    stage.screen.seen(true)
}

fn list(nodes: &[Atom]) -> Term {
    Term::list(nodes.iter().cloned().map(Term::from))
}

async fn call(stage: &mut Stage) -> Result<(), Failure> {
    stage.screen.step(
        "Call a server on the other node",
        "A gen_server is a process that keeps a state and answers calls. #[derive(Protocol)] makes its
         messages typed methods; on the wire they are the terms that Erlang would send.",
    )?;
    stage.screen.prompt("rust2", "Counter::start(&node, 0).name(\"counter\").await?")?;
    let server = start_counter(stage).await?;
    stage.screen.seen(server)?;
    let counter = stage.rust1.server::<Ask>((COUNTER, RUST2));
    stage.screen.prompt("rust1", "let counter = node.server::<Ask>((\"counter\", \"rust2@127.0.0.1\"));")?;
    stage.screen.prompt("rust1", "counter.add(5).await?")?;
    stage.screen.expect(counter.add(5).await.map_err(|error| stage.failed(error))?, 5)?;
    stage.screen.prompt(
        "rust1",
        "node.call::<Term, Term>((\"counter\", \"rust2@127.0.0.1\"), \"{add, 2}\".parse()?).await?",
    )?;
    let add = "{add, 2}".parse().map_err(|error: ParseError| stage.failed(error))?;
    let reply = stage.rust1.call::<Term, Term>((COUNTER, RUST2), add).await;
    stage.screen.expect(reply.map_err(|error| stage.failed(error))?, 7)
}

/// Starts the server on rust2, and says what it is.
async fn start_counter(stage: &Stage) -> Result<String, Failure> {
    let server = Counter::start(&stage.rust2, 0).name(COUNTER).await;
    Ok(format!("process {}", server.map_err(|error| stage.failed(error))?.pid()))
}

async fn deferred_reply(stage: &mut Stage) -> Result<(), Failure> {
    stage.screen.step(
        "Reply later",
        "A server need not reply at once: it goes on with its messages while slow work is under way.",
    )?;
    let counter = stage.rust1.server::<Ask>((COUNTER, RUST2));
    let clock = &stage.world.clock;
    let start = clock.mono();
    stage.screen.prompt("rust1", "tokio::join!(counter.get_after(300), counter.get())")?;
    let slow = async { (counter.get_after(300).await, clock.mono().since(start)) };
    let quick = async { (counter.get().await, clock.mono().since(start)) };
    let ((slow, slow_took), (quick, quick_took)) = tokio::join!(slow, quick);
    let slow = slow.map_err(|error| stage.failed(error))?;
    let quick = quick.map_err(|error| stage.failed(error))?;
    let ms = |took: Duration| took.as_millis();
    stage.screen.seen(format_args!(
        "get_after: {slow} after {} ms, get: {quick} after {} ms",
        ms(slow_took),
        ms(quick_took)
    ))?;
    stage.screen.must(
        slow == 7 && quick == 7 && quick_took < slow_took,
        "the second call should have been answered before the first",
    )
}

async fn link(stage: &mut Stage) -> Result<(), Failure> {
    stage.screen.step(
        "Link",
        "Linked processes end together, across nodes too. One that traps exits is told instead, and can
         act on it: this is what supervisors do.",
    )?;
    let worker = stage.rust2.spawn(|mut cx| async move { cx.receive().await.into() });
    let worker = worker.map_err(|error| stage.failed(error))?;
    stage
        .screen
        .prompt("rust2", "let worker = node.spawn(|mut cx| async move { cx.receive().await.into() })?;")?;
    stage.screen.prompt(
        "rust1",
        "cx.trap_exit(true); cx.link(&worker); cx.send(&worker, Term::atom(\"out_of_paper\"))?;",
    )?;
    stage.screen.prompt("rust1", "cx.receive().await")?;
    let linked = worker.clone();
    let told = stage.process(&stage.rust1, |mut cx| async move {
        cx.trap_exit(true);
        cx.link(&linked);
        cx.send(&linked, Term::atom("out_of_paper"))?;
        Ok::<_, ExitReason>(cx.receive().await)
    });
    let told = told.await?.map_err(|error| stage.failed(error))?;
    let exit = Term::tuple([Term::atom("EXIT"), worker.into(), Term::atom("out_of_paper")]);
    stage.screen.expect(told, exit)
}

async fn crash(stage: &mut Stage) -> Result<(), Failure> {
    stage.screen.step(
        "Monitor, and a crash",
        "A monitor tells when a process has ended, and why. A panic ends its own process and nothing
         else: the reason says what happened and where, as an Erlang crash would.",
    )?;
    stage.screen.prompt("rust1", "let counter = (\"counter\", \"rust2@127.0.0.1\"); cx.monitor(counter);")?;
    stage.screen.prompt("rust1", "cx.cast(counter, &Tell::Crash)?; cx.receive().await")?;
    let down = stage.process(&stage.rust1, |mut cx| async move {
        cx.monitor((COUNTER, RUST2));
        cx.cast((COUNTER, RUST2), &Tell::Crash)?;
        Ok::<_, ExitReason>(cx.receive().await)
    });
    let down = down.await?.map_err(|error| stage.failed(error))?;
    let reason = show_down(stage, &down)?;
    stage.screen.must(is_planned_panic(reason), "the reason should be the panic")?;
    ping_rust2(stage).await?;
    stage.screen.prompt("rust2", "Counter::start(&node, 0).name(\"counter\").await?")?;
    let server = start_counter(stage).await?;
    stage.screen.seen(server)
}

/// Prints `{'DOWN', Reference, process, Item, Reason}` as long as it is, in three lines.
pub(super) fn show_down<'a>(stage: &Stage, down: &'a Term) -> Result<&'a Term, Failure> {
    match down.as_tuple() {
        Some([tag, reference, kind, item, reason]) if tag.is_atom("DOWN") => {
            for line in [format!("{{{tag},{reference},{kind},"), format!(" {item},"), format!(" {reason}}}")]
            {
                stage.screen.seen(line)?;
            }
            Ok(reason)
        }
        _ => Err(stage.failed(format_args!("a message 'DOWN' was expected, not {down}"))),
    }
}

/// `{{rust_panic, Text}, Stack}`.
fn is_planned_panic(reason: &Term) -> bool {
    let Some([what, _]) = reason.as_tuple() else { return false };
    matches!(what.as_tuple(), Some([tag, text])
        if tag.is_atom("rust_panic") && text.as_str() == Some(super::PLANNED_PANIC))
}

async fn alias(stage: &mut Stage) -> Result<(), Failure> {
    stage.screen.step(
        "Alias",
        "An alias is a second address of a process, which it can give up: what arrives late is dropped.
         Calls use one for their replies, so that no reply arrives after the call has timed out.",
    )?;
    let echo = stage.rust2.spawn(|mut cx| async move {
        loop {
            // `{To, Message}`, to a pid or an alias.
            let message = cx.receive().await;
            let sent = match message.as_tuple() {
                Some([Term::Pid(to), message]) => cx.send(to, message.clone()),
                Some([Term::Reference(to), message]) => cx.send(&**to, message.clone()),
                _ => return ExitReason::Normal,
            };
            if let Err(error) = sent {
                return error.into();
            }
        }
    });
    let echo = echo.map_err(|error| stage.failed(error))?;
    stage.screen.prompt(
        "rust1",
        "let alias = cx.alias(); cx.send(&echo, (alias.clone(), Atom::from(\"by_alias\")))?;",
    )?;
    stage.screen.prompt("rust1", "cx.receive().await")?;
    let to = echo.clone();
    let received = stage.process(&stage.rust1, |mut cx| async move {
        let alias = cx.alias();
        cx.send(&to, (alias.clone(), Atom::from("by_alias")))?;
        let first = cx.receive().await;
        cx.unalias(&alias);
        cx.send(&to, (alias, Atom::from("too_late")))?;
        cx.send(&to, (cx.pid().clone(), Atom::from("by_pid")))?;
        let second = cx.receive().await;
        Ok::<_, ExitReason>((first, second))
    });
    let (first, second) = received.await?.map_err(|error| stage.failed(error))?;
    stage.screen.expect(first, "by_alias")?;
    stage
        .screen
        .prompt("rust1", "cx.unalias(&alias); cx.send(&echo, (alias, Atom::from(\"too_late\")))?;")?;
    stage
        .screen
        .prompt("rust1", "cx.send(&echo, (cx.pid().clone(), Atom::from(\"by_pid\")))?; cx.receive().await")?;
    stage.screen.expect(second, "by_pid")?;
    stage.rust2.exit(&echo, ExitReason::Shutdown);
    Ok(())
}
