//! Log events between `tracing` and Erlang's loggers: those of processes that are led from the other side, and those that are sent there. Alone in its program: who listens to `tracing` first is remembered by
//! all.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use beamline::process::{Context, ExitReason};
use beamline::term::Term;
use beamline_interop::{Cluster, eventually};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, layer};

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

impl<S: tracing::Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &tracing::Event<'_>, _: layer::Context<'_, S>) {
        if event.metadata().target() == "beamline::logger" {
            let mut fields = Fields(event.metadata().level().to_string());
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
    }
}

/// Hands what is logged to a process.
const LOGGED: &str = "-module(logged).
-export([log/2]).
log(#{level := Level, msg := {Format, Args}, meta := Meta}, #{config := To}) ->
    To ! {logged, Level, lists:flatten(io_lib:format(Format, Args)), node(maps:get(pid, Meta)), maps:without([pid, gl, time, line], Meta), maps:is_key(line, Meta)};
log(_, _) -> ok.
";

#[tokio::test(flavor = "multi_thread")]
async fn what_one_side_logs_is_an_event_of_the_other() {
    let events = Events::default();
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = cluster.erl("erl").start().await;
    let node = cluster.node("rust").await;
    let to_erlang = node.logger("erl@127.0.0.1").max_level(tracing::Level::DEBUG);
    // One node among several, and one that is not there.
    let to_nobody = node.logger("nobody@127.0.0.1");
    let both = tracing_subscriber::registry().with(events.clone()).with(to_erlang).with(to_nobody);
    tracing::subscriber::set_global_default(both).expect("nobody listens yet");
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

    // The other way: levels, text and fields arrive as the node's own events, where it comes from as metadata.
    erl.load(LOGGED).await;
    erl.eval("logger:add_handler(logged, logged, #{config => self(), filters => [{remote, {fun logger_filters:remote_gl/2, stop}}]})").await;
    tracing::error!(target: "shop", order = 7, "out of tea");
    tracing::warn!(target: "shop", what = "milk", "low");
    tracing::info!(target: "shop", "é and ☃");
    tracing::debug!(target: "shop", only = "fields");
    tracing::trace!(target: "shop", "too much");
    let logged = "[receive {logged, Level, Text, 'rust@127.0.0.1', #{mfa := {shop, event, 0}, domain := [rust]} = Meta, true} when map_size(Meta) == 2 -> {Level, Text} after 5000 -> none end || _ <- [1, 2, 3, 4]]";
    assert_eq!(
        erl.eval(logged).await,
        "[{error,\"out of tea order=7\"},{warning,\"low what=milk\"},{info,[233,32,97,110,100,32,9731]},{debug,\"only=fields\"}]"
    );
    // Nothing else: neither what came from there, nor that the other node cannot be reached.
    assert_eq!(
        erl.eval("receive {logged, _, T, 'rust@127.0.0.1', _, _} -> T after 300 -> none end").await,
        "none"
    );
}
