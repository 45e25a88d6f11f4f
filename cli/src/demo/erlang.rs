//! The steps with a stock Erlang node.

use beamline::process::ExitReason;
use beamline::term::{Atom, Charlist, Term};

use super::erl::{Erl, Shell};
use super::rust::show_down;
use super::{COOKIE, ERLANG, PLANNED_PANIC, Stage};
use crate::failure::Failure;

pub(super) async fn show(stage: &mut Stage, erl: Erl) -> Result<(), Failure> {
    let mut erlang = start(stage, erl).await?;
    call_rust(stage, &mut erlang).await?;
    call_erlang(stage).await?;
    watch_rust(stage, &mut erlang).await?;
    watch_erlang(stage, &mut erlang).await?;
    lose_erlang(stage, erlang).await
}

/// Has Erlang evaluate a line, and shows both.
async fn type_in(stage: &Stage, erlang: &mut Shell, line: &str) -> Result<String, Failure> {
    stage.screen.prompt("erlang", line)?;
    let value = erlang.eval(line).await.map_err(|error| stage.failed(error))?;
    stage.screen.seen(&value)?;
    Ok(value)
}

/// As [`type_in`], for a line that has to have this value.
async fn expect(stage: &Stage, erlang: &mut Shell, line: &str, want: &str) -> Result<(), Failure> {
    let value = type_in(stage, erlang, line).await?;
    stage.screen.must(value == want, &format!("{want} was expected, not {value}"))
}

async fn start(stage: &mut Stage, erl: Erl) -> Result<Shell, Failure> {
    stage.screen.step(
        "A stock Erlang node",
        "It finds the Rust nodes through their EPMD, and takes them for nodes of its own kind.",
    )?;
    stage.screen.command(&format!("erl -name {ERLANG} -setcookie {COOKIE}"))?;
    let erlang = erl.start(&stage.world, ERLANG, COOKIE, stage.epmd_port).await;
    let mut erlang = erlang.map_err(|error| stage.failed(error))?;
    stage.screen.seen(format_args!("Erlang/OTP {}", erlang.otp_release()))?;
    expect(
        stage,
        &mut erlang,
        "[net_adm:ping(N) || N <- ['rust1@127.0.0.1', 'rust2@127.0.0.1']].",
        "[pong,pong]",
    )
    .await?;
    expect(stage, &mut erlang, "lists:sort(nodes()).", "['rust1@127.0.0.1','rust2@127.0.0.1']").await?;
    Ok(erlang)
}

async fn call_rust(stage: &mut Stage, erlang: &mut Shell) -> Result<(), Failure> {
    stage.screen.step(
        "Erlang calls Rust",
        "The same server as before, with the same messages. Its Rust types are what decodes them.",
    )?;
    expect(stage, erlang, "gen_server:call({counter, 'rust2@127.0.0.1'}, {add, 40}).", "40").await?;
    expect(stage, erlang, "gen_server:call({counter, 'rust2@127.0.0.1'}, {add, 2}).", "42").await?;
    let refused =
        type_in(stage, erlang, "gen_server:call({counter, 'rust2@127.0.0.1'}, {add, many}).").await?;
    stage.screen.must(refused.starts_with("{error,{badarg,"), "a request of a wrong type should be refused")
}

async fn call_erlang(stage: &mut Stage) -> Result<(), Failure> {
    stage.screen.step(
        "Rust calls Erlang",
        "Every Erlang node has a server that knows its applications. The reply is a list of tuples,
         decoded into Rust's own types.",
    )?;
    stage.screen.prompt("rust1", "type Applications = Vec<(Atom, Charlist, Charlist)>;")?;
    stage.screen.prompt("rust1", "let controller = (\"application_controller\", \"erlang@127.0.0.1\");")?;
    stage.screen.prompt(
        "rust1",
        "node.call::<Applications, _>(controller, Atom::from(\"which_applications\")).await?",
    )?;
    let applications = stage.rust1.call::<Vec<(Atom, Charlist, Charlist)>, _>(
        ("application_controller", ERLANG),
        Atom::from("which_applications"),
    );
    let applications = applications.await.map_err(|error| stage.failed(error))?;
    for (name, about, version) in &applications {
        stage.screen.seen(format_args!("{name} {}  ({})", version.0, about.0))?;
    }
    let kernel = applications.iter().any(|(name, _, _)| name == "kernel");
    stage.screen.must(kernel, "the application kernel should run on an Erlang node")
}

async fn watch_rust(stage: &mut Stage, erlang: &mut Shell) -> Result<(), Failure> {
    stage.screen.step(
        "Erlang links to and monitors Rust",
        "The counter panics again: to Erlang it is the crash of a process like any other.",
    )?;
    expect(
        stage,
        erlang,
        "Counter = gen_server:call({counter, 'rust2@127.0.0.1'}, pid), is_pid(Counter).",
        "true",
    )
    .await?;
    expect(
        stage,
        erlang,
        "process_flag(trap_exit, true), link(Counter), Ref = monitor(process, Counter), ok.",
        "ok",
    )
    .await?;
    expect(stage, erlang, "gen_server:cast(Counter, crash).", "ok").await?;
    let down =
        type_in(stage, erlang, "receive {'DOWN', Ref, process, Counter, Reason} -> Reason end.").await?;
    let panic = format!("{{{{rust_panic,<<\"{PLANNED_PANIC}\">>}},");
    stage.screen.must(down.starts_with(&panic), "the monitor should tell of the panic")?;
    expect(stage, erlang, "receive {'EXIT', Counter, Why} -> Why =:= Reason end.", "true").await
}

async fn watch_erlang(stage: &mut Stage, erlang: &mut Shell) -> Result<(), Failure> {
    stage.screen.step(
        "Rust monitors Erlang",
        "And the other way round: a Rust process watches an Erlang one, and hears how it ends.",
    )?;
    expect(
        stage,
        erlang,
        "register(printer, spawn(fun() -> receive print -> exit(out_of_paper) end end)).",
        "true",
    )
    .await?;
    stage.screen.prompt("rust1", "let printer = (\"printer\", \"erlang@127.0.0.1\");")?;
    stage.screen.prompt(
        "rust1",
        "cx.monitor(printer); cx.send(printer, Term::atom(\"print\"))?; cx.receive().await",
    )?;
    let down = stage.process(&stage.rust1, |mut cx| async move {
        cx.monitor(("printer", ERLANG));
        cx.send(("printer", ERLANG), Term::atom("print"))?;
        Ok::<_, ExitReason>(cx.receive().await)
    });
    let down = down.await?.map_err(|error| stage.failed(error))?;
    let reason = show_down(stage, &down)?;
    stage.screen.must(reason.is_atom("out_of_paper"), "the reason should be out_of_paper")
}

async fn lose_erlang(stage: &mut Stage, erlang: Shell) -> Result<(), Failure> {
    stage.screen.step(
        "A node is lost",
        "The Erlang node is killed without warning. Whoever watched one of its processes, or the node
         itself, hears of it; nothing waits for ever.",
    )?;
    stage.screen.prompt("rust1", "cx.monitor((\"application_controller\", \"erlang@127.0.0.1\"));")?;
    stage.screen.prompt("rust1", "cx.monitor_node(\"erlang@127.0.0.1\", true);")?;
    let (watching, ready) = tokio::sync::oneshot::channel();
    let heard = stage.process(&stage.rust1, |mut cx| async move {
        cx.monitor(("application_controller", ERLANG));
        cx.monitor_node(ERLANG, true);
        let _ = watching.send(());
        [cx.receive().await, cx.receive().await]
    });
    let kill = async {
        let _ = ready.await;
        stage.screen.command("kill -KILL <pid of erl>")?;
        erlang.kill().await.map_err(|error| stage.failed(error))
    };
    let (heard, killed) = tokio::join!(heard, kill);
    killed?;
    // The processes of a lost node are heard of before the node itself.
    let [process, node] = heard?;
    let reason = show_down(stage, &process)?;
    stage.screen.expect(node, format!("{{nodedown,'{ERLANG}'}}"))?;
    stage.screen.must(reason.is_atom("noconnection"), "the reason should be noconnection")
}
