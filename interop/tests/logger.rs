//! Log events that Erlang sends to the node of a process's group leader. Alone in its program: who listens to `tracing` first is remembered by
//! all.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use beamline::process::{Context, ExitReason};
use beamline::term::Term;
use beamline_interop::{Cluster, eventually};
use tracing::field::{Field, Visit};
use tracing::span;

/// Keeps the events of `beamline::logger` as text: level, message, Erlang's level, node.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if matches!(field.name(), "level" | "message") {
            let _ = write!(self.0, " {value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "node" {
            let _ = write!(self.0, " {value}");
        }
    }
}

impl tracing::Subscriber for Events {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "beamline::logger"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields(event.metadata().level().to_string());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_erlang_logs_for_a_process_that_is_led_from_here_is_an_event_here() {
    let events = Events::default();
    tracing::subscriber::set_global_default(events.clone()).expect("nobody listens yet");
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = cluster.erl("erl").start().await;
    let node = cluster.node("rust").await;
    let tell = |mut cx: Context<Term>| async move {
        if let Some(from) = cx.receive().await.as_pid() {
            let _ = cx.send(from, cx.group_leader());
        }
        ExitReason::Normal
    };
    let pid = node.spawn(tell).expect("room");
    node.register("tell", &pid).expect("a free name");
    // The last is what a process leaves that crashes.
    let log = "{tell, 'rust@127.0.0.1'} ! self(), Leader = receive P -> P after 5000 -> none end,
        logger:set_primary_config(level, all),
        spawn(fun() -> group_leader(Leader, self()),
            logger:error(\"~p of ~ts\", [{a, 1}, \"tea\"]),
            logger:warning(\"a text\"),
            logger:notice(#{what => report}),
            logger:debug([{what, list}]),
            error_logger:error_msg(\"old ~w\", [style]),
            logger:info(\"~p\", []),
            proc_lib:spawn(fun() -> error(oops) end)
        end), ok";
    assert_eq!(erl.eval(log).await, "ok");
    eventually("all are there", async || events.0.lock().unwrap().len() >= 7).await;
    let events = events.0.lock().unwrap().clone();
    let expected = [
        "ERROR {a,1} of tea error erl@127.0.0.1",
        "WARN a text warning erl@127.0.0.1",
        "INFO #{what => report} notice erl@127.0.0.1",
        "DEBUG [{what,list}] debug erl@127.0.0.1",
        "ERROR old style error erl@127.0.0.1",
        "INFO {format_error,\"~p\",[]} info erl@127.0.0.1",
    ];
    assert_eq!(events[..6], expected);
    let crash = events[6].replace(char::is_whitespace, "");
    assert!(crash.starts_with("ERROR#{label=>{proc_lib,crash},report=>"), "{crash}");
    assert!(crash.contains("error_info,{error,oops,"), "{crash}");
}
