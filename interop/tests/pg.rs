//! Process groups that Erlang's `pg` and ours share.
#![expect(clippy::disallowed_methods, reason = "tests against programs of this host")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use beamline::etf;
use beamline::gen_server::GenServer;
use beamline::node::Node;
use beamline::pg::{Action, GroupEvent, Limits, Scope, ScopeRef};
use beamline::process::ExitReason;
use beamline::term::{Atom, Pid, Term};
use beamline_interop::{Cluster, ErlNode, eventually};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde::de::DeserializeOwned;

/// Erlang's `global` neither connects nodes nor disconnects them.
const ALONE: [&str; 5] = ["-kernel", "prevent_overlapping_partitions", "false", "-connect_all", "false"];

/// Who is in which group, in an order that all agree on.
type Groups = BTreeMap<Term, Vec<Pid>>;

fn groups(pairs: impl IntoIterator<Item = (Term, Vec<Pid>)>) -> Groups {
    let mut groups = Groups::new();
    for (group, pids) in pairs {
        groups.entry(group).or_default().extend(pids);
    }
    groups.values_mut().for_each(|pids| pids.sort());
    groups
}

async fn of_erlang<T: DeserializeOwned>(erl: &mut ErlNode, expression: &str) -> T {
    let bytes = erl.eval_bytes(&format!("term_to_binary({expression})")).await;
    etf::from_slice(&bytes).expect("Erlang wrote it")
}

async fn erlang_groups(erl: &mut ErlNode, function: &str, which: &str) -> Groups {
    let all = format!("[{{G, pg:{function}(G)}} || G <- pg:{which}()]");
    groups(of_erlang::<Vec<_>>(erl, &all).await)
}

fn our_groups(pg: &ScopeRef) -> Groups {
    groups(pg.which_groups().into_iter().map(|group| (group.clone(), pg.get_members(group))))
}

fn our_local_groups(pg: &ScopeRef) -> Groups {
    groups(pg.which_local_groups().into_iter().map(|group| (group.clone(), pg.get_local_members(group))))
}

/// Groups are any term.
fn group(n: usize) -> Term {
    ["workers", "{shop, <<\"a\">>, 1}", "[#{k => 1.5}]"][n].parse().expect("it is a term")
}

fn member(node: &Node) -> Pid {
    let body = |mut cx: beamline::process::Context<Term>| async move {
        cx.receive().await;
        ExitReason::Normal
    };
    node.spawn(body).expect("there is room")
}

async fn start_scope(node: &Node) {
    Scope::start(node, Limits::default()).name("pg").await.expect("the name is free");
}

/// A node of the cluster: the processes that there are on it, and what it is in Erlang or in Rust.
struct Member {
    name: &'static str,
    pids: Vec<Pid>,
    /// Who has joined here: the model.
    joined: Vec<(usize, Pid)>,
    is: Is,
}

enum Is {
    Erlang(Box<ErlNode>),
    Rust(Node),
}

impl Member {
    async fn erlang(cluster: &Cluster, name: &'static str) -> Self {
        let mut erl = cluster.erl(name.split('@').next().unwrap()).args(ALONE).start().await;
        erl.eval("{ok, _} = pg:start(pg), New = fun() -> spawn(fun() -> receive stop -> ok end end) end")
            .await;
        // The killed scope's crash is no news.
        erl.eval("logger:set_primary_config(level, none)").await;
        Self { name, pids: Vec::new(), joined: Vec::new(), is: Is::Erlang(Box::new(erl)) }
    }

    async fn rust(cluster: &Cluster, name: &'static str) -> Self {
        let node = cluster.node(name.split('@').next().unwrap()).await;
        start_scope(&node).await;
        Self { name, pids: Vec::new(), joined: Vec::new(), is: Is::Rust(node) }
    }

    async fn new_pid(&mut self) -> Pid {
        match &mut self.is {
            Is::Erlang(erl) => of_erlang(erl, "New()").await,
            Is::Rust(node) => member(node),
        }
    }

    /// Several at once.
    async fn change(&mut self, join: bool, n: usize, pids: &[Pid]) {
        match &mut self.is {
            Is::Erlang(erl) => {
                let function = if join { "join" } else { "leave" };
                let pids = match pids {
                    [pid] => local_pid(pid),
                    pids => format!("[{}]", pids.iter().map(local_pid).collect::<Vec<_>>().join(",")),
                };
                assert_eq!(erl.eval(&format!("pg:{function}({}, {pids})", group(n))).await, "ok");
            }
            Is::Rust(node) if join => node.pg("pg").join(group(n), pids.to_vec()).await.expect("it runs"),
            Is::Rust(node) => {
                assert_eq!(node.pg("pg").leave(group(n), pids.to_vec()).await, Ok(true));
            }
        }
        for pid in pids {
            let is = |it: &(usize, Pid)| it.0 == n && it.1 == *pid;
            match (join, self.joined.iter().position(is)) {
                (true, _) => self.joined.push((n, pid.clone())),
                (false, at) => drop(self.joined.remove(at.expect("only members leave"))),
            }
        }
    }

    async fn end(&mut self, at: usize) {
        let pid = self.pids[at].clone();
        match &mut self.is {
            Is::Erlang(erl) => drop(erl.eval(&format!("exit({}, kill)", local_pid(&pid))).await),
            Is::Rust(node) => node.exit(&pid, ExitReason::Kill),
        }
        self.joined.retain(|(_, member)| *member != pid);
        self.pids[at] = self.new_pid().await;
    }

    async fn restart_scope(&mut self) {
        match &mut self.is {
            Is::Erlang(erl) => {
                // In a fun, which keeps its variables to itself.
                let restart = "(fun() -> M = monitor(process, pg), exit(whereis(pg), kill),
                     receive {'DOWN', M, _, _, _} -> pg:start(pg) end end)()";
                erl.eval(restart).await;
            }
            Is::Rust(node) => {
                let old = node.whereis("pg").expect("it runs");
                node.exit(&old, ExitReason::Kill);
                eventually("it has ended", async || node.whereis("pg").is_none()).await;
                start_scope(node).await;
            }
        }
        self.joined.clear();
    }

    async fn connect(&mut self, other: &'static str) {
        // The loss of the former connection may come in between.
        eventually("they are connected", async || match &mut self.is {
            Is::Erlang(erl) => erl.eval(&format!("net_adm:ping('{other}')")).await == "pong",
            Is::Rust(node) => node.ping(other).await,
        })
        .await;
    }

    async fn disconnect(&mut self, other: &str) {
        match &mut self.is {
            Is::Erlang(erl) => drop(erl.eval(&format!("erlang:disconnect_node('{other}')")).await),
            Is::Rust(node) => drop(node.disconnect(other)),
        }
    }

    /// `nodes/0`.
    async fn nodes(&mut self) -> Vec<Atom> {
        match &mut self.is {
            Is::Erlang(erl) => of_erlang(erl, "nodes()").await,
            Is::Rust(node) => node.nodes(),
        }
    }

    async fn groups(&mut self) -> Groups {
        match &mut self.is {
            Is::Erlang(erl) => erlang_groups(erl, "get_members", "which_groups").await,
            Is::Rust(node) => our_groups(&node.pg("pg")),
        }
    }

    async fn local_groups(&mut self) -> Groups {
        match &mut self.is {
            Is::Erlang(erl) => erlang_groups(erl, "get_local_members", "which_local_groups").await,
            Is::Rust(node) => our_local_groups(&node.pg("pg")),
        }
    }

    fn model(&self) -> Vec<(Term, Vec<Pid>)> {
        self.joined.iter().map(|(n, pid)| (group(*n), vec![pid.clone()])).collect()
    }
}

/// A pid of an Erlang node, as that node writes it.
fn local_pid(pid: &Pid) -> String {
    format!("list_to_pid(\"<0.{}.{}>\")", pid.id, pid.serial)
}

#[derive(Debug, Clone)]
enum Step {
    Join(usize, usize, Vec<usize>),
    /// Of those who have joined on a node.
    Leave(usize, Vec<prop::sample::Index>),
    End(usize, usize),
    Restart(usize),
    /// One has the connection to another closed, or made again.
    Toggle(usize, usize),
}

fn step(nodes: usize) -> impl Strategy<Value = Step> {
    let node = move || 0..nodes;
    prop_oneof![
        8 => (node(), 0..3_usize, prop::collection::vec(0..3_usize, 1..4))
            .prop_map(|(node, group, pids)| Step::Join(node, group, pids)),
        5 => (node(), prop::collection::vec(any::<prop::sample::Index>(), 1..3))
            .prop_map(|(node, of)| Step::Leave(node, of)),
        2 => (node(), 0..3_usize).prop_map(|(node, pid)| Step::End(node, pid)),
        1 => node().prop_map(Step::Restart),
        3 => (node(), node()).prop_map(|(a, b)| Step::Toggle(a, b)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_know_who_is_where_after_whatever_happens() {
    history(500, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_agree_in_the_end_when_much_happens_at_once() {
    history(1500, 25).await;
}

/// Plays a random history on one Erlang node and two of ours, which have to agree after every so many steps.
async fn history(steps: usize, every: usize) {
    let Some(cluster) = Cluster::start().await else { return };
    let mut nodes = [
        Member::erlang(&cluster, "erl@127.0.0.1").await,
        Member::rust(&cluster, "rust@127.0.0.1").await,
        Member::rust(&cluster, "rust2@127.0.0.1").await,
    ];
    let mut connected = BTreeSet::new();
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let other = nodes[b].name;
        nodes[a].connect(other).await;
        connected.insert((a, b));
    }
    for node in &mut nodes {
        for _ in 0..3 {
            let pid = node.new_pid().await;
            node.pids.push(pid);
        }
    }
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(step(nodes.len()), steps).new_tree(&mut runner);
    for (number, step) in steps.expect("there are no filters").current().into_iter().enumerate() {
        match &step {
            Step::Join(node, n, pids) => {
                let node = &mut nodes[*node];
                let pids: Vec<_> = pids.iter().map(|at| node.pids[*at].clone()).collect();
                node.change(true, *n, &pids).await;
            }
            Step::Leave(node, of) => {
                let node = &mut nodes[*node];
                if node.joined.is_empty() {
                    continue;
                }
                let (n, first) = of[0].get(&node.joined).clone();
                // Another membership of the same group may leave at the same time.
                let mut left: Vec<_> = node.joined.iter().filter(|it| it.0 == n).cloned().collect();
                left.remove(left.iter().position(|it| it.1 == first).expect("it was chosen of them"));
                let second = of.get(1).filter(|_| !left.is_empty()).map(|of| of.get(&left).1.clone());
                let pids: Vec<_> = [first].into_iter().chain(second).collect();
                node.change(false, n, &pids).await;
            }
            Step::End(node, at) => nodes[*node].end(*at).await,
            Step::Restart(node) => nodes[*node].restart_scope().await,
            Step::Toggle(a, b) if a == b => continue,
            Step::Toggle(a, b) => {
                let (pair, other) = ((*a.min(b), *a.max(b)), nodes[*b].name);
                if connected.remove(&pair) {
                    nodes[*a].disconnect(other).await;
                } else {
                    nodes[*a].connect(other).await;
                    connected.insert(pair);
                }
            }
        }
        if (number + 1) % every != 0 {
            continue;
        }
        let what = format!("step {number}, {step:?}");
        let mut outcome = Err(String::new());
        let end = Instant::now() + Duration::from_secs(30);
        // What was under way when a connection was lost may have Erlang make another, so that it is known only afterwards who is connected.
        while outcome.as_ref() != Ok(&connected) && (every == 1 || outcome.is_err()) {
            assert!(Instant::now() < end, "{what}: {outcome:?}, {connected:?} are connected");
            outcome = agree(&mut nodes).await;
        }
        connected = outcome.expect("they agree");
    }
}

/// Who is connected to whom, if they agree on that and know who is where.
async fn agree(nodes: &mut [Member]) -> Result<BTreeSet<(usize, usize)>, String> {
    let mut connected = BTreeSet::new();
    for at in 0..nodes.len() {
        let others = nodes[at].nodes().await;
        let found =
            nodes.iter().enumerate().filter(|(_, node)| others.iter().any(|other| *other == node.name));
        connected.extend(found.map(|(other, _)| (at, other)));
    }
    if let Some((a, b)) = connected.iter().find(|(a, b)| !connected.contains(&(*b, *a))) {
        return Err(format!("{} is connected to {}, but not the other way", nodes[*a].name, nodes[*b].name));
    }
    for at in 0..nodes.len() {
        let known =
            nodes.iter().enumerate().filter(|(other, _)| *other == at || connected.contains(&(at, *other)));
        let (all, local) = (groups(known.flat_map(|(_, node)| node.model())), groups(nodes[at].model()));
        let node = &mut nodes[at];
        for (found, expected) in [(node.groups().await, all), (node.local_groups().await, local)] {
            if found != expected {
                return Err(format!("{} has {found:?} and not {expected:?}", node.name));
            }
        }
    }
    connected.retain(|(a, b)| a < b);
    Ok(connected)
}

/// A process of ours that notes what its monitor tells it.
fn watcher(node: &Node) -> (Pid, Arc<Mutex<Vec<GroupEvent>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = heard.clone();
    let body = |mut cx: beamline::process::Context<Term>| async move {
        loop {
            let event = etf::from_term(&cx.receive().await).expect("it is an event");
            notes.lock().unwrap().push(event);
        }
    };
    (node.spawn(body).expect("there is room"), heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn monitors_are_told_the_same_as_in_erlang() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut nodes =
        [Member::erlang(&cluster, "erl@127.0.0.1").await, Member::rust(&cluster, "rust@127.0.0.1").await];
    let other = nodes[1].name;
    nodes[0].connect(other).await;
    for node in &mut nodes {
        for _ in 0..3 {
            let pid = node.new_pid().await;
            node.pids.push(pid);
        }
    }
    let Is::Rust(rust) = &nodes[1].is else { unreachable!() };
    let (pg, rust) = (rust.pg("pg"), rust.clone());
    let (of_scope, scope_heard) = watcher(&rust);
    let (of_group, group_heard) = watcher(&rust);
    let (scope_monitor, _) = pg.monitor_scope(&of_scope).await.expect("it runs");
    let (group_monitor, _) = pg.monitor(group(0), &of_group).await.expect("it runs");
    let Is::Erlang(erl) = &mut nodes[0].is else { unreachable!() };
    erl.eval(&format!("{{S, _}} = pg:monitor_scope(), {{G, _}} = pg:monitor({})", group(0))).await;
    // The scope has told all when it answers.
    let told = |monitor: &str| {
        format!(
            "begin sys:get_state(pg),
             (fun Heard() -> receive {{{monitor}, A, Of, Pids}} -> [{{A, Of, Pids}} | Heard()] after 0 -> [] end end)() end"
        )
    };
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(step(nodes.len()), 300).new_tree(&mut runner);
    let mut events = 0;
    for (number, step) in steps.expect("there are no filters").current().into_iter().enumerate() {
        match &step {
            Step::Join(node, n, pids) => {
                let node = &mut nodes[*node];
                let pids: Vec<_> = pids.iter().map(|at| node.pids[*at].clone()).collect();
                node.change(true, *n, &pids).await;
            }
            Step::Leave(node, of) if !nodes[*node].joined.is_empty() => {
                let node = &mut nodes[*node];
                let (n, pid) = of[0].get(&node.joined).clone();
                node.change(false, n, &[pid]).await;
            }
            Step::End(node, at) => nodes[*node].end(*at).await,
            Step::Leave(..) | Step::Restart(_) | Step::Toggle(..) => continue,
        }
        let expected = groups(nodes.iter().flat_map(Member::model));
        for node in &mut nodes {
            eventually("both know", async || node.groups().await == expected).await;
        }
        let Is::Erlang(erl) = &mut nodes[0].is else { unreachable!() };
        for (monitor, reference, heard) in
            [("S", &scope_monitor, &scope_heard), ("G", &group_monitor, &group_heard)]
        {
            let theirs: Vec<(Action, Term, Vec<Pid>)> = of_erlang(erl, &told(monitor)).await;
            eventually("we are told as much", async || heard.lock().unwrap().len() >= theirs.len()).await;
            let ours = std::mem::take(&mut *heard.lock().unwrap());
            assert!(ours.iter().all(|event| event.0 == *reference));
            let ours: Vec<_> = ours.into_iter().map(|event| (event.1, event.2, event.3)).collect();
            assert_eq!(ours, theirs, "step {number}: {step:?}");
            events += ours.len();
        }
    }
    assert!(events > 300, "{events} events");
}

/// Who is in a group by the nodes of its members.
fn nodes_of(pids: &[Pid]) -> Vec<&str> {
    let mut nodes: Vec<_> = pids.iter().map(|pid| pid.node.as_str()).collect();
    nodes.sort_unstable();
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_nodes_are_not_discovered_as_in_erlang() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = Member::erlang(&cluster, "erl@127.0.0.1").await;
    let mut rust = Member::rust(&cluster, "rust@127.0.0.1").await;
    let mut hidden_erl = cluster.erl("hidden_erl").args(ALONE).args(["-hidden"]).start().await;
    hidden_erl.eval("{ok, _} = pg:start(pg), ok = pg:join(workers, self())").await;
    let hidden_rust = cluster.builder("hidden_rust").hidden(true).start().await.expect("it starts");
    start_scope(&hidden_rust).await;
    hidden_rust.pg("pg").join(group(0), [member(&hidden_rust)]).await.expect("it runs");
    for node in [&mut erl, &mut rust] {
        let pid = node.new_pid().await;
        node.change(true, 0, &[pid]).await;
        node.connect("hidden_erl@127.0.0.1").await;
        node.connect("hidden_rust@127.0.0.1").await;
    }
    erl.connect("rust@127.0.0.1").await;
    let visible = ["erl@127.0.0.1", "rust@127.0.0.1"];
    for node in [&mut erl, &mut rust] {
        eventually("the visible ones have met", async || {
            nodes_of(&node.groups().await[&group(0)]) == visible
        })
        .await;
    }
    // What a hidden node might have sent a scope before this is handled when it answers.
    let ask = "[is_map(sys:get_state({pg, N})) orelse ok || N <- ['erl@127.0.0.1', 'rust@127.0.0.1', 'hidden_rust@127.0.0.1']]";
    assert_eq!(hidden_erl.eval(ask).await, "[ok,true,true]");
    for node in [&mut erl, &mut rust] {
        assert_eq!(nodes_of(&node.groups().await[&group(0)]), visible, "{}", node.name);
    }
    assert_eq!(nodes_of(&hidden_rust.pg("pg").get_members(group(0))), ["hidden_rust@127.0.0.1"]);
    assert_eq!(hidden_erl.eval("pg:get_members(workers) =:= [self()]").await, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_memberships_are_told_at_once() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = Member::erlang(&cluster, "erl@127.0.0.1").await;
    let mut rust = Member::rust(&cluster, "rust@127.0.0.1").await;
    let pids: Vec<_> = {
        let Is::Rust(node) = &rust.is else { unreachable!() };
        (0..2000).map(|_| member(node)).collect()
    };
    let ended = pids.clone();
    for n in 0..3 {
        rust.change(true, n, &pids).await;
    }
    let Is::Erlang(it) = &mut erl.is else { unreachable!() };
    it.eval("Many = [New() || _ <- lists:seq(1, 2000)], [ok = pg:join(G, Many) || G <- [a, <<\"b\">>]]")
        .await;
    erl.connect("rust@127.0.0.1").await;
    let mut expected = groups(rust.model());
    expected.extend(erl.local_groups().await);
    assert_eq!(expected.values().map(Vec::len).sum::<usize>(), 10_000);
    for node in [&mut erl, &mut rust] {
        eventually("all are known", async || node.groups().await == expected).await;
    }
    // All of ours end one by one.
    let Is::Rust(node) = &rust.is else { unreachable!() };
    for pid in &ended {
        node.exit(pid, ExitReason::Kill);
    }
    let left = erl.local_groups().await;
    for node in [&mut erl, &mut rust] {
        eventually("all of them have left", async || node.groups().await == left).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_outlives_what_an_erlang_node_may_send_it() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = Member::erlang(&cluster, "erl@127.0.0.1").await;
    let rust = Member::rust(&cluster, "rust@127.0.0.1").await;
    let (mut nodes, other) = ([rust], "erl@127.0.0.1");
    let Is::Erlang(it) = &mut erl.is else { unreachable!() };
    it.eval("To = {pg, 'rust@127.0.0.1'}, Pg = whereis(pg)").await;
    for message in [
        "hello",
        "{join, Pg, workers, x}",
        "{join, self(), workers, [self()]}",
        "{leave, Pg, [self()], [never, joined]}",
        "{leave, Pg, [self()], never}",
        "{discover, x}",
        "{discover, Pg, 1}",
        "{'DOWN', make_ref(), process, Pg, normal}",
        "{'$gen_cast', {sync, Pg, [x]}}",
        "{'$gen_cast', {sync, x, []}}",
        "{'$gen_cast', bye}",
        "{nodeup, rust@nowhere}",
        "{nodedown, node()}",
        "{join, Pg, workers, []}",
        "{'$gen_call', {self(), make_ref()}, {join_local, g, self()}}",
    ] {
        it.eval(&format!("To ! {message}")).await;
    }
    // A scope of somebody else's making: it need not be one of pg's.
    let made = it
        .eval(
            "To ! {discover, self()},
             receive {'$gen_cast', {sync, Theirs, []}} -> ok end, receive {discover, Theirs} -> ok end,
             To ! {join, self(), workers, self()}, To ! {join, self(), workers, [self(), self()]},
             To ! {leave, self(), self(), [workers, workers]}, is_pid(Theirs)",
        )
        .await;
    assert_eq!(made, "true");
    let Is::Rust(node) = &nodes[0].is else { unreachable!() };
    let pg = node.pg("pg");
    eventually("one is left", async || pg.get_members(group(0)).len() == 1).await;
    assert_eq!(nodes_of(&pg.get_members(group(0))), [other]);
    let pid = nodes[0].new_pid().await;
    nodes[0].change(true, 1, &[pid]).await;
    eventually("Erlang's still knows it", async || erl.groups().await.contains_key(&group(1))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fixtures_echo_is_in_a_group() {
    let Some(cluster) = Cluster::start().await else { return };
    let _fixture = cluster.fixture("fixture", &[]).await;
    let mut erl = Member::erlang(&cluster, "erl@127.0.0.1").await;
    erl.connect("fixture@127.0.0.1").await;
    eventually("it is known", async || !erl.groups().await.is_empty()).await;
    let Is::Erlang(erl) = &mut erl.is else { unreachable!() };
    let theirs = "[Echo] = pg:get_members(fixture), [Echo] = rpc:call('fixture@127.0.0.1', pg, get_members, [fixture]), ok";
    assert_eq!(erl.eval(theirs).await, "ok");
    let answer = "gen_server:call(Echo, hello)";
    assert_eq!(erl.eval(answer).await, "hello");
}
