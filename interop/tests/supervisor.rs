//! The same histories on OTP's supervisor and on ours, both driven by the same Erlang program, and Erlang's functions on ours.

use std::time::Duration;

use beamline::gen_server::{Context, GenServer, Reply, ReplyTo, StartError};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::supervisor::{AutoShutdown, StartedPid, Supervisor, SupervisorSpec, Template};
use beamline::term::{Atom, Pid, Term};
use beamline_interop::{Cluster, ErlNode};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde::Deserialize;

const SUPERVISED: &str = include_str!("erlang/supervised.erl");
const HISTORIES: usize = 600;

/// A child that does what the collector says, as `supervised.erl`'s does.
struct Scripted {
    id: Term,
    collector: Pid,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Info {
    Stop(ExitReason),
}

impl GenServer for Scripted {
    type Args = (Term, Pid);
    type Call = Term;
    type Reply = Term;
    type Cast = Term;
    type Info = Info;

    async fn init((id, collector): (Term, Pid), cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.trap_exit(true);
        let start = Term::tuple([Term::atom("start"), id.clone(), cx.pid().clone().into()]);
        let outcome: Term = cx.call(&collector, start).infinity().await?;
        match outcome.as_tuple() {
            Some([_, reason]) => Err(reason.clone().into()),
            _ if outcome.is_atom("ignore") => Err(ExitReason::atom("ignore")),
            _ => Ok(Self { id, collector }),
        }
    }

    async fn handle_call(
        &mut self,
        call: Term,
        from: ReplyTo<Term>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(call))
    }

    async fn handle_info(
        &mut self,
        Info::Stop(reason): Info,
        cx: &mut Context<Self>,
    ) -> Result<(), ExitReason> {
        cx.stop(reason);
        Ok(())
    }

    async fn terminate(&mut self, reason: &ExitReason, cx: &mut Context<Self>) {
        let stop = Term::tuple([Term::atom("stop"), self.id.clone(), reason.to_term()]);
        let told: Result<Term, _> = cx.call(&self.collector, stop).infinity().await;
        if told.is_ok_and(|told| told.is_atom("hang")) {
            std::future::pending().await
        }
    }
}

/// Starts supervisors of a node for whoever asks.
struct Starter(Node);

type Flags = (Atom, u32, u64, Atom);

impl GenServer for Starter {
    type Args = Node;
    type Call = Flags;
    type Reply = Result<Pid, String>;
    type Cast = Term;
    type Info = Term;

    async fn init(node: Node, _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(node))
    }

    async fn handle_call(
        &mut self,
        (strategy, intensity, period, auto): Flags,
        from: ReplyTo<Self::Reply>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        let spec = match strategy.as_str() {
            "one_for_one" => SupervisorSpec::one_for_one(),
            "one_for_all" => SupervisorSpec::one_for_all(),
            "rest_for_one" => SupervisorSpec::rest_for_one(),
            _ => SupervisorSpec::simple_one_for_one(Template::worker::<Scripted, (Term, Pid)>(|extra| extra)),
        };
        let auto = match auto.as_str() {
            "any_significant" => AutoShutdown::AnySignificant,
            "all_significant" => AutoShutdown::AllSignificant,
            _ => AutoShutdown::Never,
        };
        let spec = spec.intensity(intensity, Duration::from_secs(period)).auto_shutdown(auto);
        let spec = spec.export("supervised", "start_child", |parent, args| {
            let parent = parent.clone();
            async move {
                let [id, collector] = &args[..] else {
                    return Err(StartError::Init(ExitReason::atom("badarg")));
                };
                let collector =
                    collector.as_pid().cloned().ok_or(StartError::Init(ExitReason::atom("badarg")))?;
                match parent.start_link::<Scripted>((id.clone(), collector)).await {
                    Ok(server) => Ok(StartedPid::from(server)),
                    Err(StartError::Init(why)) if why.to_term().is_atom("ignore") => {
                        Ok(StartedPid::from(None))
                    }
                    Err(error) => Err(error),
                }
            }
        });
        let started = Supervisor::start(&self.0, spec).await;
        Ok(from.reply(started.map(|it| it.pid().clone()).map_err(|error| error.to_string())))
    }
}

/// One history: the supervisor's flags, and what is done to it, in Erlang's syntax.
fn history() -> impl Strategy<Value = (String, Vec<String>)> {
    let id = || (0..5_u32).prop_map(|id| format!("c{id}"));
    let reason = || {
        prop::sample::select(vec![
            "normal",
            "shutdown",
            "{shutdown, why}",
            "crash",
            "crash",
            "{bad, [reason]}",
            "kill",
        ])
    };
    let outcome = prop::sample::select(vec!["ok", "{error, not_yet}", "{error, not_yet}", "ignore"]);
    let outcomes = prop::collection::vec(outcome, 1..4);
    let restart = prop::sample::select(vec!["permanent", "permanent", "transient", "temporary"]);
    let shutdown = prop::sample::select(vec!["5000", "infinity", "brutal_kill", "40"]);
    let significant = prop::bool::weighted(0.3);
    let start = (id(), restart, shutdown, significant).prop_map(|(id, restart, shutdown, significant)| {
        // Those that may hang are not waited for.
        let may_hang = matches!(&*id, "c0" | "c1") && shutdown != "brutal_kill";
        let shutdown = if may_hang { "40" } else { shutdown };
        format!(
            "{{start, {id}, #{{restart => {restart}, shutdown => {shutdown}, significant => {significant}}}}}"
        )
    });
    let op = prop_oneof![
        5 => start.clone(),
        6 => (prop::collection::vec(id(), 1..3), reason())
            .prop_map(|(ids, reason)| format!("{{exit, [{}], {reason}}}", ids.join(", "))),
        3 => (id(), outcomes).prop_map(|(id, outcomes)| format!("{{script, {id}, [{}]}}", outcomes.join(", "))),
        1 => (0..2_u32, any::<bool>()).prop_map(|(id, hangs)| format!("{{hang, c{id}, {hangs}}}")),
        2 => id().prop_map(|id| format!("{{terminate, {id}}}")),
        2 => id().prop_map(|id| format!("{{restart, {id}}}")),
        1 => id().prop_map(|id| format!("{{delete, {id}}}")),
        1 => id().prop_map(|id| format!("{{spec, {id}}}")),
        1 => Just("count".to_owned()),
    ];
    let flags = (
        prop::sample::select(vec!["one_for_one", "one_for_all", "rest_for_one", "simple_one_for_one"]),
        0..7_u32,
        prop::sample::select(vec!["never", "any_significant", "all_significant"]),
    );
    let (starts, ops) = (prop::collection::vec(start, 2..6), prop::collection::vec(op, 3..20));
    (flags, starts, ops).prop_map(|((strategy, intensity, auto), mut starts, ops)| {
        starts.extend(ops);
        let ops = starts;
        let simple = strategy == "simple_one_for_one";
        let mut next = 0;
        let ops = ops.into_iter().filter_map(|op| {
            if !simple {
                return Some(op);
            }
            // Dynamic children have numbers of their own, and are known by their pids. They do not ignore their restart, which OTP takes for an error.
            if op.starts_with("{hang,") {
                return None;
            }
            let op = op.replace(", ignore", "").replace("[ignore]", "[ok]").replace("[ignore, ", "[");
            if op.starts_with("{start,") {
                next += 1;
                return Some(format!("{{start, simple, c{}}}", next % 5));
            }
            Some(op.replace("{terminate,", "{terminate_pid,"))
        });
        (format!("{{{strategy}, {intensity}, 3600, {auto}}}"), ops.collect())
    })
}

async fn ready(cluster: &Cluster) -> (ErlNode, Node) {
    let (erl, node) = cluster.pair(SUPERVISED).await;
    Starter::start(&node, node.clone()).name("starter").await.expect("it starts");
    (erl, node)
}

#[tokio::test(flavor = "multi_thread")]
async fn otps_supervisor_and_ours_do_the_same() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut erl, node) = ready(&cluster).await;
    let idle = node.process_count();
    let mut runner = TestRunner::deterministic();
    let mut ended = 0;
    for number in 0..HISTORIES {
        let (flags, ops) = history().new_tree(&mut runner).expect("there are no filters").current();
        let ops = ops.join(", ");
        let theirs =
            format!("supervised:run(supervised:start_sup({flags}), supervised:start_collector(), [{ops}])");
        let ours = format!(
            "supervised:run(element(2, gen_server:call({{starter, Rust}}, {flags})), supervised:start_collector(), [{ops}])"
        );
        let (theirs, ours) = (erl.eval(&theirs).await, erl.eval(&ours).await);
        // A child of a template is of a Rust type, which is shown as its module.
        let ours = ours.replace("'supervisor::Scripted'", "supervised");
        assert_eq!(ours, theirs, "history {number}: {flags} [{ops}]");
        ended += usize::from(theirs.contains("{ended,"));
    }
    assert!(ended > HISTORIES / 10 && ended < HISTORIES * 9 / 10, "{ended} supervisors ended by themselves");
    beamline_interop::eventually("nothing is left", async || node.process_count() == idle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn erlangs_functions_on_our_supervisor() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut erl, node) = ready(&cluster).await;
    let idle = node.process_count();
    erl.eval("{ok, Sup} = gen_server:call({starter, Rust}, {one_for_one, 3, 5, never})").await;
    erl.eval(
        "C = supervised:start_collector(), Spec = #{id => a, start => {supervised, start_child, [a, C]}}",
    )
    .await;
    let cases = [
        ("element(1, supervisor:start_child(Sup, Spec))", "ok"),
        ("{error, {already_started, P}} = supervisor:start_child(Sup, Spec), is_pid(P)", "true"),
        // What cannot be read says what is wrong with it, as OTP says it.
        ("supervisor:start_child(Sup, #{})", "{error,missing_id}"),
        ("supervisor:start_child(Sup, #{id => b})", "{error,missing_start}"),
        ("supervisor:start_child(Sup, Spec#{start => x})", "{error,{invalid_mfa,x}}"),
        ("supervisor:start_child(Sup, Spec#{restart => x})", "{error,{invalid_restart_type,x}}"),
        ("supervisor:start_child(Sup, Spec#{significant => x})", "{error,{invalid_significant,x}}"),
        ("supervisor:start_child(Sup, Spec#{shutdown => -1})", "{error,{invalid_shutdown,-1}}"),
        ("supervisor:start_child(Sup, Spec#{type => x})", "{error,{invalid_child_type,x}}"),
        ("supervisor:start_child(Sup, Spec#{modules => x})", "{error,{invalid_modules,x}}"),
        ("supervisor:start_child(Sup, Spec#{modules => [1]})", "{error,{invalid_module,1}}"),
        ("supervisor:start_child(Sup, x)", "{error,{invalid_child_spec,x}}"),
        (
            "supervisor:start_child(Sup, Spec#{id => b, significant => true})",
            "{error,{bad_combination,[{auto_shutdown,never},{significant,true}]}}",
        ),
        // The older form.
        (
            "element(1, supervisor:start_child(Sup, {b, {supervised, start_child, [b, C]}, temporary, brutal_kill, worker, [m]}))",
            "ok",
        ),
        // A function that was not exported is undefined.
        (
            "supervisor:start_child(Sup, #{id => evil, start => {os, cmd, [\"ls\"]}})",
            "{error,{{'EXIT',{undef,[{os,cmd,[\"ls\"],[]}]}},{child,undefined,evil,{os,cmd,[\"ls\"]},permanent,false,5000,worker,[os]}}}",
        ),
        ("supervisor:count_children(Sup)", "[{specs,2},{active,2},{supervisors,0},{workers,2}]"),
        ("[element(1, Child) || Child <- supervisor:which_children(Sup)]", "[b,a]"),
        ("supervisor:restart_child(Sup, a)", "{error,running}"),
        ("supervisor:delete_child(Sup, a)", "{error,running}"),
        ("supervisor:terminate_child(Sup, a)", "ok"),
        (
            "supervisor:which_children(Sup) -- [{a,undefined,worker,[supervised]}] =:= [hd(supervisor:which_children(Sup))]",
            "true",
        ),
        ("element(1, supervisor:restart_child(Sup, a))", "ok"),
        ("supervisor:terminate_child(Sup, nobody)", "{error,not_found}"),
        // Its state can be looked at, and it ends as it is told to.
        ("sys:get_state(Sup)", "{children,[a,b]}"),
        (
            "element(2, lists:keyfind(module, 1, tuple_to_list({element(3, sys:get_status(Sup))})))",
            "gen_server",
        ),
        ("sys:terminate(Sup, shutdown)", "ok"),
    ];
    for (expression, expected) in cases {
        assert_eq!(erl.eval(expression).await, expected, "{expression}");
    }
    beamline_interop::eventually("its children have ended", async || node.process_count() == idle).await;
}
