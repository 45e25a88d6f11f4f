//! What can be seen of a process from outside.

use std::time::Duration;

use beamline::prelude::*;
use beamline::process::{Destination, Status};
use beamline::testing::TestNode;

struct Idle;

impl GenServer for Idle {
    type Args = ();
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.trap_exit(true);
        Ok(Self)
    }

    async fn handle_call(
        &mut self,
        ask: Term,
        from: ReplyTo<Term>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        match ask.as_tuple() {
            Some([tag, pid]) if tag.is_atom("monitor") => {
                cx.monitor(pid.as_pid().expect("it is one"));
            }
            Some([_, name, node]) => {
                let (name, node) = (name.as_atom().expect("it is one"), node.as_atom().expect("it is one"));
                cx.monitor((name.clone(), node.clone()));
            }
            _ => cx.world().sleep(Duration::from_secs(3600)).await,
        }
        Ok(from.reply(ask))
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_shows_what_it_is_and_has() {
    let node = TestNode::new(1).await;
    let idle = Idle::start(&node, ()).name("idle").await.unwrap();
    let probe = node.probe();
    probe.link(idle.pid());
    probe.monitor(idle.pid());
    probe.monitor(idle.pid());
    let me = Term::from(probe.pid().clone());
    let _: Term = node.call("idle", Term::tuple([Term::atom("monitor"), me])).await.unwrap();
    let elsewhere = Term::tuple([Term::atom("monitor"), Term::atom("other"), Term::atom("test@test")]);
    let _: Term = node.call("idle", elsewhere).await.unwrap();
    node.settle().await;
    // One that does nothing, with what waits for it.
    idle.send(Term::atom("first")).unwrap();
    idle.cast(Term::atom("second")).unwrap();
    let info = node.process_info(idle.pid()).expect("it is alive");
    assert_eq!((info.pid.clone(), info.registered_name.clone()), (idle.pid().clone(), Some("idle".into())));
    assert!(info.initial_call.is_some_and(|it| it.ends_with("::Idle")));
    assert_eq!((info.status, info.message_queue_len, info.trap_exit), (Status::Runnable, 2, true));
    assert_eq!(info.links, [probe.pid().clone()]);
    assert_eq!(info.monitored_by, [probe.pid().clone(), probe.pid().clone()]);
    // The one by name has fired: there is none of that name.
    assert_eq!(info.monitors, [Destination::Pid(probe.pid().clone())]);
    let shown = info.to_term().to_string();
    for part in [
        "[{registered_name,idle},{current_function,{",
        "{status,runnable},{message_queue_len,2}",
        "{trap_exit,true}",
        "{'$ancestors',[]}",
        "{monitors,[{process,<",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    node.settle().await;
    let info = node.process_info(idle.pid()).expect("it is alive");
    assert_eq!((info.status, info.message_queue_len, info.callback), (Status::Waiting, 0, "handle_cast"));
    assert!(node.processes().contains(idle.pid()));
    assert_eq!(idle.stop(ExitReason::Shutdown).await, ExitReason::Shutdown);
    assert_eq!(node.process_info(idle.pid()), None);
    drop(probe);
}
