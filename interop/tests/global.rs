//! Names and locks that Erlang's `global` and ours share.

use std::collections::BTreeMap;
use std::time::Duration;

use beamline::etf;
use beamline::global::{LockId, Options, Resolve};
use beamline::node::Node;
use beamline::process::{ExitReason, Raise};
use beamline::rpc::Function;
use beamline::term::{Atom, Pid, Term};
use beamline_interop::{Cluster, ErlNode, eventually, eventually_of, within};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde::de::DeserializeOwned;

async fn of_erlang<T: DeserializeOwned>(erl: &mut ErlNode, expression: &str) -> T {
    let bytes = erl.eval_bytes(&format!("term_to_binary({expression})")).await;
    etf::from_slice(&bytes).expect("Erlang wrote it")
}

fn process(node: &Node) -> Pid {
    node.spawn(|mut cx| async move {
        loop {
            if cx.receive().await.is_atom("stop") {
                return ExitReason::Normal;
            }
        }
    })
    .expect("there is room")
}

async fn member(cluster: &Cluster, name: &str) -> Node {
    cluster.builder(name).global(Options::default()).start().await.expect("the node starts")
}

async fn erlang(cluster: &Cluster, name: &str) -> ErlNode {
    let mut erl = cluster.erl(name).start().await;
    erl.eval("logger:set_primary_config(level, none), New = fun() -> spawn(fun() -> receive stop -> ok end end) end").await;
    erl
}

/// All names with their processes.
fn our_names(node: &Node) -> BTreeMap<Term, Pid> {
    let global = node.global();
    let names = global.registered_names().into_iter();
    names.filter_map(|name| Some((name.clone(), global.whereis_name(name)?))).collect()
}

async fn erlang_names(erl: &mut ErlNode) -> BTreeMap<Term, Pid> {
    of_erlang(erl, "maps:from_list([{N, global:whereis_name(N)} || N <- global:registered_names()])").await
}

async fn known(erl: &mut ErlNode) -> Vec<Atom> {
    let mut known: Vec<Atom> = of_erlang(erl, "gen_server:call(global_name_server, get_known)").await;
    known.sort();
    known
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_shared_by_all_nodes_of_a_cluster() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut a, mut c) = (erlang(&cluster, "a").await, erlang(&cluster, "c").await);
    let (b, d) = (member(&cluster, "b").await, member(&cluster, "d").await);
    // Before they meet.
    let ours = process(&b);
    assert!(b.global().register_name(Atom::from("ours"), &ours).await.unwrap());
    assert_eq!(a.eval("global:register_name({theirs, 1}, New())").await, "yes");
    assert!(b.ping("a@127.0.0.1").await);
    within("b has a's names", b.global().sync()).await.unwrap();
    assert_eq!(our_names(&b).len(), 2, "{:?}", our_names(&b));
    assert_eq!(a.eval("global:sync()").await, "ok");
    assert_eq!(our_names(&b), erlang_names(&mut a).await);
    // Two more, each of which is told of the others.
    assert!(d.ping("b@127.0.0.1").await);
    assert_eq!(c.eval("net_adm:ping('b@127.0.0.1')").await, "pong");
    for node in [&b, &d] {
        eventually("all nodes are connected", async || node.nodes().len() == 3).await;
    }
    eventually("a knows all", async || known(&mut a).await.len() == 3).await;
    eventually("c knows all", async || known(&mut c).await.len() == 3).await;
    // From each, for a process of each.
    assert_eq!(c.eval("global:register_name(from_c, New())").await, "yes");
    assert!(d.global().register_name(Term::from("from d"), &process(&b)).await.unwrap());
    let expected = our_names(&b);
    assert_eq!(expected.len(), 4, "{expected:?}");
    assert_eq!(our_names(&d), expected);
    assert_eq!(erlang_names(&mut a).await, expected);
    assert_eq!(erlang_names(&mut c).await, expected);
    // A name that is taken, a process that has one.
    assert!(!d.global().register_name(Atom::from("from_c"), &process(&d)).await.unwrap());
    assert_eq!(a.eval("global:register_name(ours, New())").await, "no");
    assert!(!b.global().register_name(Atom::from("second"), &ours).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_go_as_they_came() {
    let Some(cluster) = Cluster::start().await else { return };
    let (mut a, mut c) = (erlang(&cluster, "a").await, erlang(&cluster, "c").await);
    let (b, d) = (member(&cluster, "b").await, member(&cluster, "d").await);
    for node in [&b, &d] {
        assert!(node.ping("a@127.0.0.1").await);
        within("a node is in sync", node.global().sync()).await.unwrap();
    }
    assert_eq!(c.eval("net_adm:ping('a@127.0.0.1'), global:sync()").await, "ok");
    eventually("c knows all", async || known(&mut c).await.len() == 3).await;
    let everywhere = async |a: &mut ErlNode, c: &mut ErlNode, names: &[&'static str]| {
        let names: Vec<Term> = names.iter().map(|name| Atom::from(*name).into()).collect();
        let is = |found: &BTreeMap<Term, Pid>| found.keys().eq(&names);
        eventually("all have these names", async || {
            is(&erlang_names(a).await)
                && is(&erlang_names(c).await)
                && is(&our_names(&b))
                && is(&our_names(&d))
        })
        .await;
    };
    let (one, two, three) = (process(&b), process(&d), process(&d));
    for (name, pid) in [("one", &one), ("three", &three), ("two", &two)] {
        assert!(b.global().register_name(Atom::from(name), pid).await.unwrap());
    }
    assert_eq!(a.eval("global:register_name(erlangs, P = New())").await, "yes");
    everywhere(&mut a, &mut c, &["erlangs", "one", "three", "two"]).await;
    // Taken back, here and there.
    d.global().unregister_name(Atom::from("one")).await.unwrap();
    assert_eq!(d.global().whereis_name(Atom::from("one")), None);
    assert_eq!(c.eval("global:unregister_name(two)").await, "ok");
    assert_eq!(b.global().whereis_name(Atom::from("two")), None);
    d.global().unregister_name(Atom::from("two")).await.unwrap();
    everywhere(&mut a, &mut c, &["erlangs", "three"]).await;
    // Given to another.
    b.global().re_register_name(Atom::from("three"), &one).await.unwrap();
    assert_eq!(of_erlang::<Pid>(&mut c, "global:whereis_name(three)").await, one);
    assert_eq!(a.eval("global:re_register_name(erlangs, Q = New())").await, "yes");
    let q: Pid = of_erlang(&mut a, "Q").await;
    assert_eq!(d.global().whereis_name(Atom::from("erlangs")), Some(q));
    // With messages to it.
    assert_eq!(d.global().send(Atom::from("three"), Atom::from("hello")).unwrap(), one);
    assert!(d.global().send(Atom::from("nobody"), 1).is_err());
    // With its process, and its node.
    a.eval("Q ! stop, P ! stop").await;
    everywhere(&mut a, &mut c, &["three"]).await;
    b.exit(&one, ExitReason::Kill);
    everywhere(&mut a, &mut c, &[]).await;
    assert_eq!(c.eval("global:register_name(of_c, New())").await, "yes");
    assert!(b.global().register_name(Atom::from("of_d"), &two).await.unwrap());
    d.stop().await;
    eventually("d's name is gone", async || our_names(&b).len() == 1).await;
    c.signal("KILL");
    eventually("c's name is gone", async || our_names(&b).is_empty()).await;
    eventually("from a too", async || erlang_names(&mut a).await.is_empty()).await;
    // Nothing else came of it.
    assert_eq!(b.nodes(), ["a@127.0.0.1"]);
    assert_eq!(known(&mut a).await, ["b@127.0.0.1"]);
    assert!(b.global().register_name(Atom::from("after"), &process(&b)).await.unwrap());
    assert_eq!(erlang_names(&mut a).await.len(), 1);
}

/// A module whose functions decide.
const DECIDE: &str = "-module(decide). -export([second/3, none/3, fails/3, who/3]).
    second(_, _, Pid) -> Pid.
    none(_, _, _) -> none.
    fails(_, _, _) -> error(no).
    who(Name, One, Two) -> whereis(judge) ! {judge, node(), Name, One, Two}, One.";

fn decide(node: &Node) {
    let second = |_, _name: Term, _one: Pid, two: Pid| async move { Ok::<_, Raise>(two) };
    node.export(Function::new("decide", "second", second));
    let none = |_, _name: Term, _one: Pid, _two: Pid| async { Ok::<_, Raise>(Atom::from("none")) };
    node.export(Function::new("decide", "none", none));
    let fails =
        |_, _name: Term, _one: Pid, _two: Pid| async { Err::<Term, _>(Raise::error(Atom::from("no"))) };
    node.export(Function::new("decide", "fails", fails));
}

/// What came of a name that was there twice: whose it is, and which of the two are alive.
type Decided = (Option<&'static str>, bool, bool);

/// A name that both partitions have, with an Erlang method on each side; as an Erlang pair does.
async fn conflict(first_is_rust: bool, second_is_rust: bool, method: &'static str) -> Option<Decided> {
    let cluster = Cluster::start().await?;
    let mut sides = Vec::new();
    for (name, is_rust) in [("a", first_is_rust), ("b", second_is_rust)] {
        if is_rust {
            let node = member(&cluster, name).await;
            decide(&node);
            let pid = process(&node);
            let function = |function: &'static str| Resolve::Function {
                module: "decide".into(),
                function: function.into(),
            };
            let resolve = match method {
                "global:random_exit_name" => Resolve::RandomExit,
                "global:random_notify_name" => Resolve::RandomNotify,
                "global:notify_all_name" => Resolve::NotifyAll,
                method => function(method.strip_prefix("decide:").unwrap()),
            };
            assert!(node.global().register_name_with(Atom::from("it"), &pid, &resolve).await.unwrap());
            sides.push((Side::Rust(node), pid));
        } else {
            let mut erl = erlang(&cluster, name).await;
            erl.load(DECIDE).await;
            let pid: Pid = of_erlang(&mut erl, "P = New()").await;
            assert_eq!(erl.eval(&format!("global:register_name(it, P, fun {method}/3)")).await, "yes");
            sides.push((Side::Erlang(Box::new(erl)), pid));
        }
    }
    let [(mut a, pid_a), (mut b, pid_b)] = <[_; 2]>::try_from(sides).ok().unwrap();
    a.connect("b@127.0.0.1").await;
    a.sync().await;
    b.sync().await;
    let (in_a, in_b) = (a.whereis().await, b.whereis().await);
    assert_eq!(in_a, in_b, "{method}");
    let whose = in_a.map(|pid| if pid == pid_a { "a" } else { "b" });
    // The one that is killed ends in its own time.
    let (mut alive_a, mut alive_b) = (true, true);
    if method == "global:random_exit_name" {
        eventually("one is killed", async || {
            (alive_a, alive_b) = (a.is_alive(&pid_a).await, b.is_alive(&pid_b).await);
            alive_a != alive_b
        })
        .await;
    }
    Some((whose, alive_a, alive_b))
}

enum Side {
    Erlang(Box<ErlNode>),
    Rust(Node),
}

const NAMES: [&str; 4] = ["a@127.0.0.1", "b@127.0.0.1", "c@127.0.0.1", "d@127.0.0.1"];

impl Side {
    /// The node of this number, in Erlang or in Rust.
    async fn start(cluster: &Cluster, number: usize, is_rust: bool, prevent: bool) -> Self {
        let alive = NAMES[number].split('@').next().unwrap();
        if is_rust {
            let options = Options::default().prevent_overlapping_partitions(prevent);
            return Self::Rust(cluster.builder(alive).global(options).start().await.expect("it starts"));
        }
        let prevent = if prevent { "true" } else { "false" };
        let mut erl =
            cluster.erl(alive).args(["-kernel", "prevent_overlapping_partitions", prevent]).start().await;
        erl.eval("logger:set_primary_config(level, none), New = fun() -> spawn(fun() -> receive stop -> ok end end) end").await;
        Self::Erlang(Box::new(erl))
    }

    async fn disconnect(&mut self, node: &'static str) {
        match self {
            Self::Erlang(erl) => {
                assert_eq!(erl.eval(&format!("erlang:disconnect_node('{node}')")).await, "true");
            }
            Self::Rust(rust) => assert!(rust.disconnect(node)),
        }
    }

    async fn nodes(&mut self) -> Vec<Atom> {
        let mut nodes = match self {
            Self::Erlang(erl) => of_erlang(erl, "nodes()").await,
            Self::Rust(rust) => rust.nodes(),
        };
        nodes.sort();
        nodes
    }

    /// Those that it shares its names with.
    async fn known(&mut self) -> Vec<Atom> {
        self.told("get_known").await
    }

    async fn told(&mut self, what: &'static str) -> Vec<Atom> {
        let mut nodes: Vec<Atom> = match self {
            Self::Erlang(erl) => {
                of_erlang(erl, &format!("gen_server:call(global_name_server, {what})")).await
            }
            Self::Rust(rust) => rust.call("global_name_server", Atom::from(what)).await.expect("it answers"),
        };
        nodes.sort();
        nodes.dedup();
        nodes
    }

    async fn connect(&mut self, node: &'static str) {
        match self {
            Self::Erlang(erl) => assert_eq!(erl.eval(&format!("net_adm:ping('{node}')")).await, "pong"),
            Self::Rust(rust) => assert!(rust.ping(node).await),
        }
    }

    /// All that it says of its part in the cluster, for a failure.
    async fn state(&mut self) -> String {
        let (nodes, known, synced) = (self.nodes().await, self.known().await, self.told("get_synced").await);
        let more = match self {
            Self::Erlang(erl) => erl.eval("{global:info(), {locks, ets:tab2list(global_locks)}}").await,
            Self::Rust(_) => "in Rust".to_owned(),
        };
        format!("nodes {nodes:?}, known {known:?}, synced {synced:?}, {more}")
    }

    async fn sync(&mut self) {
        match self {
            Self::Erlang(erl) => assert_eq!(within("sync", erl.eval("global:sync()")).await, "ok"),
            Self::Rust(rust) => within("sync", rust.global().sync()).await.unwrap(),
        }
    }

    async fn whereis(&mut self) -> Option<Pid> {
        match self {
            Self::Erlang(erl) => of_erlang::<Term>(erl, "global:whereis_name(it)").await.as_pid().cloned(),
            Self::Rust(rust) => rust.global().whereis_name(Atom::from("it")),
        }
    }

    async fn is_alive(&mut self, pid: &Pid) -> bool {
        match self {
            Self::Erlang(erl) => erl.eval("is_process_alive(P)").await == "true",
            Self::Rust(rust) => rust.is_process_alive(pid),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_both_partitions_have_is_decided_as_among_erlang_nodes() {
    for method in [
        "global:random_exit_name",
        "global:random_notify_name",
        "global:notify_all_name",
        "decide:second",
        "decide:none",
        "decide:fails",
    ] {
        let (expected, first, second, both) = tokio::join!(
            conflict(false, false, method),
            conflict(true, false, method),
            conflict(false, true, method),
            conflict(true, true, method)
        );
        assert_eq!([&first, &second, &both], [&expected; 3], "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_hold_on_all_nodes() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut a = erlang(&cluster, "a").await;
    let (b, c) = (member(&cluster, "b").await, member(&cluster, "c").await);
    // One that takes no part is not waited for.
    let aside = cluster.node("aside").await;
    for node in [&b, &c, &aside] {
        assert!(node.ping("a@127.0.0.1").await);
    }
    within("b is in sync", b.global().sync()).await.unwrap();
    within("c is in sync", c.global().sync()).await.unwrap();
    eventually("b is connected", async || b.nodes().len() == 2).await;
    let id = LockId::new(Atom::from("ledger"), 1);
    let (go, mut told) =
        (tokio::sync::mpsc::unbounded_channel::<bool>(), tokio::sync::mpsc::unbounded_channel());
    let (go, mut going) = go;
    let holder = {
        let id = id.clone();
        let told = told.0;
        b.spawn(move |cx| async move {
            let locks = cx.global_locks().retries(0);
            while let Some(set) = going.recv().await {
                let answer = if set {
                    locks.set_lock(&id).await
                } else {
                    locks.del_lock(&id).await;
                    true
                };
                let _ = told.send(answer);
            }
            cx.world().sleep(Duration::from_secs(3600)).await;
            ExitReason::Normal
        })
        .unwrap()
    };
    let mut ask = async |set: bool| {
        go.send(set).unwrap();
        within("the holder answers", told.1.recv()).await.unwrap()
    };
    // From Rust: another requester has to wait, the same has it too.
    assert!(ask(true).await);
    assert_eq!(a.eval("global:set_lock({ledger, 2}, [node() | nodes()], 0)").await, "false");
    assert_eq!(a.eval("global:set_lock({ledger, 2}, ['c@127.0.0.1'], 0)").await, "false");
    assert_eq!(a.eval("global:set_lock({ledger, 1}, [node() | nodes()], 0)").await, "true");
    assert!(ask(false).await);
    assert_eq!(a.eval("global:set_lock({ledger, 2}, [node() | nodes()], 0)").await, "false", "erl has it");
    assert_eq!(a.eval("global:del_lock({ledger, 1})").await, "true");
    // From Erlang: with a function, and until its process ends.
    assert_eq!(within("trans", a.eval("global:trans({ledger, 3}, fun() -> done end)")).await, "done");
    assert_eq!(a.eval("global:set_lock({ledger, 4})").await, "true");
    assert!(!ask(true).await);
    assert_eq!(a.eval("global:del_lock({ledger, 4})").await, "true");
    a.eval("H = spawn(fun() -> true = global:set_lock({ledger, 5}), receive stop -> ok end end)").await;
    eventually("it is locked", async || {
        !ask(true).await || {
            ask(false).await;
            false
        }
    })
    .await;
    a.eval("H ! stop").await;
    eventually("it is free", async || ask(true).await).await;
    // And one of a Rust process, which is killed, or whose node is lost.
    b.exit(&holder, ExitReason::Kill);
    eventually("it is free", async || {
        a.eval("global:set_lock({ledger, 6}, [node() | nodes()], 0)").await == "true"
    })
    .await;
    a.signal("KILL");
    let (mine, locked) = (LockId::new(Atom::from("ledger"), 7), tokio::sync::oneshot::channel());
    let _ = c.spawn(move |cx| async move {
        let total = cx.global_locks().trans(&mine, async || 6 * 7).await;
        let _ = locked.0.send(total);
        ExitReason::Normal
    });
    assert_eq!(within("the lost node's lock goes", locked.1).await.unwrap(), Some(42));
}

/// A connection of a whole cluster is cut, by one of its ends; then all find together again. Returns whom each node was connected to
/// meanwhile.
async fn after_a_cut(is_rust: [bool; 4], prevent: bool) -> Option<Vec<Vec<Atom>>> {
    let cluster = Cluster::start().await?;
    let mut sides = Vec::new();
    for (number, is_rust) in is_rust.into_iter().enumerate() {
        sides.push(Side::start(&cluster, number, is_rust, prevent).await);
    }
    let states = async |sides: &mut Vec<Side>| {
        let mut states = String::new();
        for (number, side) in sides.iter_mut().enumerate() {
            states += &format!("\n{}: {}", NAMES[number], side.state().await);
        }
        states
    };
    let join = async |sides: &mut Vec<Side>| {
        for name in &NAMES[1..] {
            sides[0].connect(name).await;
        }
        let all = async |sides: &mut Vec<Side>| {
            for side in sides {
                if [side.known().await, side.nodes().await, side.told("get_synced").await]
                    .iter()
                    .any(|it| it.len() < 3)
                {
                    return false;
                }
            }
            true
        };
        eventually_of("all share their names", sides, all, states).await;
        // A locker gives its locks back after that, and so connects again to a node that is lost meanwhile, in Erlang too. To register a
        // name takes the same lock on all nodes.
        let (name, pid) = (Term::atom("rest"), sides[0].process().await);
        assert_eq!(sides[0].register(&name, &pid).await, "yes");
        assert_eq!(sides[0].unregister(&name).await, "ok");
    };
    join(&mut sides).await;
    sides[0].disconnect(NAMES[1]).await;
    // Which nodes follow which of the two depends on whose word is first: that nobody is between them does not.
    let views = async |sides: &mut Vec<Side>| {
        let mut views = Vec::new();
        for (number, side) in sides.iter_mut().enumerate() {
            let nodes = side.nodes().await;
            views.push((nodes == side.known().await).then(|| [&nodes[..], &[NAMES[number].into()]].concat()));
        }
        views.iter_mut().flatten().for_each(|view| view.sort());
        views.into_iter().collect::<Option<Vec<_>>>()
    };
    let mut found = Vec::new();
    let rest = async |sides: &mut Vec<Side>| {
        let Some(views) = views(sides).await else { return false };
        let apart = !views[0].contains(&NAMES[1].into()) && !views[1].contains(&NAMES[0].into());
        let disjoint = views.iter().all(|one| {
            views.iter().all(|other| one == other || !one.iter().any(|node| other.contains(node)))
        });
        found = views;
        apart && (disjoint || !prevent)
    };
    eventually_of("the cluster has come to rest", &mut sides, rest, states).await;
    join(&mut sides).await;
    Some(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_does_not_fall_into_parts_that_overlap() {
    let Some(_) = after_a_cut([false; 4], true).await else { return };
    tokio::join!(
        after_a_cut([true, false, false, false], true),
        after_a_cut([false, true, false, true], true),
        after_a_cut([false, false, true, false], true),
        after_a_cut([true; 4], true)
    );
    // Unless it is to.
    let (erlang, mixed) =
        tokio::join!(after_a_cut([false; 4], false), after_a_cut([true, false, true, false], false));
    let in_between = mixed.clone().unwrap();
    assert_eq!(in_between[2].len(), 4, "{in_between:?}");
    assert_eq!(erlang, mixed);
}

/// What a history does.
#[derive(Debug, Clone)]
enum Step {
    Register { by: usize, name: usize, process: usize },
    ReRegister { by: usize, name: usize, process: usize },
    Unregister { by: usize, name: usize },
    Kill { process: usize },
    WhereIs { by: usize, name: usize },
}

/// Of three nodes, with three processes each, and three names.
fn step() -> impl Strategy<Value = Step> {
    let (by, name, process) = (0..3_usize, 0..3_usize, 0..9_usize);
    prop_oneof![
        4 => (by.clone(), name.clone(), process.clone())
            .prop_map(|(by, name, process)| Step::Register { by, name, process }),
        1 => (by.clone(), name.clone(), process.clone())
            .prop_map(|(by, name, process)| Step::ReRegister { by, name, process }),
        2 => (by.clone(), name.clone()).prop_map(|(by, name)| Step::Unregister { by, name }),
        1 => process.prop_map(|process| Step::Kill { process }),
        1 => (by, name).prop_map(|(by, name)| Step::WhereIs { by, name }),
    ]
}

const GLOBAL_NAMES: [&str; 3] = ["one", "{two, 2}", "\"three\""];

fn name(number: usize) -> Term {
    GLOBAL_NAMES[number].parse().expect("it is a term")
}

fn erlang_term(term: &Term) -> String {
    let bytes = etf::to_vec(term).expect("it has an external form");
    let bytes: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("binary_to_term(<<{}>>)", bytes.join(","))
}

struct Trio {
    sides: Vec<Side>,
    processes: Vec<Pid>,
    _cluster: Cluster,
}

impl Trio {
    async fn start(is_rust: [bool; 3]) -> Option<Self> {
        let cluster = Cluster::start().await?;
        let mut sides = Vec::new();
        for (number, is_rust) in is_rust.into_iter().enumerate() {
            sides.push(Side::start(&cluster, number, is_rust, true).await);
        }
        sides[0].connect(NAMES[1]).await;
        sides[0].connect(NAMES[2]).await;
        for side in &mut sides {
            eventually("all share their names", async || side.known().await.len() == 2).await;
        }
        let mut trio = Self { sides, processes: Vec::new(), _cluster: cluster };
        for number in 0..9 {
            let process = trio.sides[number / 3].process().await;
            trio.processes.push(process);
        }
        Some(trio)
    }

    /// What it returned, or what comes to have happened.
    async fn act(&mut self, step: &Step) -> String {
        match *step {
            Step::Register { by, name: what, process } => {
                let pid = self.processes[process].clone();
                self.sides[by].register(&name(what), &pid).await
            }
            Step::ReRegister { by, name: what, process } => {
                let pid = self.processes[process].clone();
                // A process with two names is not what anybody should have: what comes of it is not defined.
                if self.owner_of(&pid).await.is_some() {
                    return "left alone".to_owned();
                }
                self.sides[by].re_register(&name(what), &pid).await
            }
            Step::Unregister { by, name: what } => self.sides[by].unregister(&name(what)).await,
            Step::Kill { process } => {
                let pid = self.processes[process].clone();
                self.sides[process / 3].kill(&pid).await;
                self.processes[process] = self.sides[process / 3].process().await;
                for side in &mut self.sides {
                    eventually("its name is gone", async || {
                        !side.names().await.values().any(|it| *it == pid)
                    })
                    .await;
                }
                "killed".to_owned()
            }
            Step::WhereIs { by, name: what } => {
                let found = self.sides[by].names().await.remove(&name(what));
                format!("{:?}", found.and_then(|pid| self.processes.iter().position(|it| *it == pid)))
            }
        }
    }

    async fn owner_of(&mut self, pid: &Pid) -> Option<Term> {
        self.sides[0].names().await.into_iter().find(|(_, it)| it == pid).map(|(name, _)| name)
    }

    /// Whose each name is, by the number of its process: all nodes say the same.
    async fn view(&mut self) -> BTreeMap<Term, Option<usize>> {
        let first = self.sides[0].names().await;
        for side in &mut self.sides[1..] {
            assert_eq!(side.names().await, first);
        }
        let number = |pid: &Pid| self.processes.iter().position(|it| it == pid);
        first.iter().map(|(name, pid)| (name.clone(), number(pid))).collect()
    }
}

impl Side {
    async fn process(&mut self) -> Pid {
        match self {
            Self::Erlang(erl) => of_erlang(erl, "New()").await,
            Self::Rust(node) => process(node),
        }
    }

    async fn names(&mut self) -> BTreeMap<Term, Pid> {
        match self {
            Self::Erlang(erl) => erlang_names(erl).await,
            Self::Rust(node) => our_names(node),
        }
    }

    async fn register(&mut self, name: &Term, pid: &Pid) -> String {
        match self {
            Self::Erlang(erl) => {
                erl.eval(&format!("global:register_name({name}, {})", erlang_term(&pid.clone().into()))).await
            }
            Self::Rust(node) => {
                let done = node.global().register_name(name.clone(), pid).await.unwrap();
                if done { "yes" } else { "no" }.to_owned()
            }
        }
    }

    async fn re_register(&mut self, name: &Term, pid: &Pid) -> String {
        match self {
            Self::Erlang(erl) => {
                erl.eval(&format!("global:re_register_name({name}, {})", erlang_term(&pid.clone().into())))
                    .await
            }
            Self::Rust(node) => {
                node.global().re_register_name(name.clone(), pid).await.unwrap();
                "yes".to_owned()
            }
        }
    }

    async fn unregister(&mut self, name: &Term) -> String {
        match self {
            Self::Erlang(erl) => erl.eval(&format!("global:unregister_name({name})")).await,
            Self::Rust(node) => {
                node.global().unregister_name(name.clone()).await.unwrap();
                "ok".to_owned()
            }
        }
    }

    async fn kill(&mut self, pid: &Pid) {
        match self {
            Self::Erlang(erl) => {
                drop(erl.eval(&format!("exit({}, kill)", erlang_term(&pid.clone().into()))).await)
            }
            Self::Rust(node) => node.exit(pid, ExitReason::Kill),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_of_names_are_those_of_an_erlang_cluster() {
    let histories: usize = std::env::var("BEAMLINE_HISTORIES").map_or(60, |n| n.parse().expect("a number"));
    let Some(mut erlang) = Trio::start([false; 3]).await else { return };
    let mut mixed = Trio::start([true, false, true]).await.expect("there is an erl");
    let mut runner = TestRunner::deterministic();
    for number in 0..histories {
        let steps = proptest::collection::vec(step(), 1..10).new_tree(&mut runner).unwrap().current();
        for step in &steps {
            let (theirs, ours) = (erlang.act(step).await, mixed.act(step).await);
            assert_eq!(theirs, ours, "history {number}: {steps:?}, at {step:?}");
        }
        assert_eq!(erlang.view().await, mixed.view().await, "history {number}: {steps:?}");
        for what in 0..3 {
            erlang.act(&Step::Unregister { by: 0, name: what }).await;
            mixed.act(&Step::Unregister { by: 0, name: what }).await;
        }
    }
}
