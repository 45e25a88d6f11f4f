//! Terms over a live connection: all types, both ways, as they are.
#![expect(clippy::disallowed_methods, reason = "tests against programs of this host")]

use std::time::Duration;

use beamline::node::Node;
use beamline::term::{Atom, BigInt, BitString, Fun, FunHead, Pid, Port, Reference, Term};
use beamline_interop::{Cluster, ErlNode, within};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

const TERMS: &str = include_str!("erlang/terms.erl");
const CASES: u32 = 10_000;

async fn echoing_erl(cluster: &Cluster) -> ErlNode {
    let mut erl = cluster.erl("erl").start().await;
    erl.load(TERMS).await;
    erl.eval("terms:serve(echo)").await;
    erl
}

#[tokio::test(flavor = "multi_thread")]
async fn random_terms_of_erlang_come_back_bit_exact() {
    let Some(cluster) = Cluster::start().await else { return };
    let fixture = cluster.fixture("fixture", &[]).await;
    let mut erl = echoing_erl(&cluster).await;
    let echoed = erl.eval(&format!("terms:echoed({{echo, '{}'}}, {CASES}, 4711)", fixture.name())).await;
    assert_eq!(echoed, CASES.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn random_terms_of_rust_come_back_from_erlang_bit_exact() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = echoing_erl(&cluster).await;
    let echo = ("echo", Atom::new(erl.name()).unwrap());
    let node = cluster.node("rust").await;
    // Since OTP 26 this is the maker of every fun that a node sends, also of others' funs.
    let maker = erl.eval_bytes("term_to_binary(list_to_pid(\"<0.0.0>\"))").await;
    let maker: Pid = beamline::etf::from_slice(&maker).unwrap();
    let zeros = Term::list([0.0, -0.0, f64::MIN_POSITIVE / 2.0, f64::MAX, 1.0].map(Term::Float));
    assert_eq!(echoed(&node, &echo, zeros.clone()).await, Ok(zeros));
    let runtime = tokio::runtime::Handle::current();
    let run = tokio::task::spawn_blocking(move || {
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        TestRunner::new_with_rng(config, random).run(&term(maker), |term| {
            let back = runtime.block_on(echoed(&node, &echo, term.clone()));
            let back = back.map_err(TestCaseError::fail)?;
            prop_assert_eq!(&back, &term);
            Ok(())
        })
    });
    run.await.unwrap().unwrap_or_else(|error| panic!("{error}"));
}

async fn echoed(node: &Node, echo: &(&'static str, Atom), term: Term) -> Result<Term, String> {
    let call = node.call::<Term, _>(echo.clone(), term).timeout(Duration::from_secs(60));
    call.await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_of_64_mib_passes_both_ways() {
    let Some(cluster) = Cluster::start().await else { return };
    let fixture = cluster.fixture("fixture", &[]).await;
    let mut erl = echoing_erl(&cluster).await;
    let same = format!(
        "Big = binary:copy(rand:bytes(1 bsl 16), 1 bsl 10),
         Big =:= gen_server:call({{echo, '{}'}}, Big, infinity)",
        fixture.name()
    );
    assert_eq!(erl.eval(&same).await, "true");

    let node = cluster.node("rust").await;
    let big: Bytes = (0..64_u32 << 20).map(|at| (at ^ (at >> 11)) as u8).collect();
    let echo = ("echo", Atom::new(erl.name()).unwrap());
    let back = within("64 MiB there and back", echoed(&node, &echo, Term::from(big.clone()))).await.unwrap();
    assert!(back.as_binary().is_some_and(|back| *back == big));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_atoms_than_the_cache_has_slots_pass_both_ways() {
    let Some(cluster) = Cluster::start().await else { return };
    let fixture = cluster.fixture("fixture", &[]).await;
    let mut erl = echoing_erl(&cluster).await;
    // First each in a message of its own, so that every slot is overwritten, then in messages that refer to as many as one header
    // can name, and more.
    let script = format!(
        "Atoms = [list_to_atom(\"atom \" ++ integer_to_list(N)) || N <- lists:seq(1, 5000)],
         Echo = {{echo, '{}'}},
         [true = Atom =:= gen_server:call(Echo, Atom) || _ <- [1, 2], Atom <- Atoms],
         Atoms =:= gen_server:call(Echo, Atoms) andalso
             lists:all(fun(N) -> Part = lists:sublist(Atoms, N, 300), Part =:= gen_server:call(Echo, Part) end,
                       lists:seq(1, 4700, 100))",
        fixture.name()
    );
    assert_eq!(erl.eval(&script).await, "true");

    let node = cluster.node("rust").await;
    let echo = ("echo", Atom::new(erl.name()).unwrap());
    let atoms: Vec<Term> =
        (0..5000).map(|n| Atom::new(&format!("atom of rust {n}")).unwrap().into()).collect();
    for _ in 0..2 {
        for atom in &atoms {
            assert_eq!(echoed(&node, &echo, atom.clone()).await.as_ref(), Ok(atom));
        }
    }
    let all = Term::list(atoms.clone());
    assert_eq!(echoed(&node, &echo, all.clone()).await, Ok(all));
    for part in atoms.windows(300).step_by(100) {
        let part = Term::list(part.to_vec());
        assert_eq!(echoed(&node, &echo, part.clone()).await, Ok(part));
    }
}

fn atom() -> impl Strategy<Value = Atom> {
    // As few as an Erlang node, which keeps them for ever, is glad to hold.
    let name = prop_oneof!["[a-c]{1,4}", "[äß☃😀]{1,3}", Just("x".repeat(255)), Just(String::new())];
    name.prop_map(|name| Atom::new(&name).unwrap())
}

fn node_name() -> impl Strategy<Value = Atom> {
    prop_oneof!["[a-c]@127.0.0.1", "ö@host"].prop_map(|name| Atom::new(&name).unwrap())
}

fn integer() -> impl Strategy<Value = Term> {
    let bytes = (any::<bool>(), vec(any::<u8>(), 0..700));
    prop_oneof![
        (-300..300_i64).prop_map(Term::from),
        any::<i64>().prop_map(Term::from),
        (0..63_u32, -1..=1_i64).prop_map(|(bits, more)| Term::from((1_i64 << bits) + more)),
        bytes.prop_map(|(negative, bytes)| Term::from(BigInt::from_bytes_le(negative, &bytes))),
    ]
}

fn pid() -> impl Strategy<Value = Pid> {
    let numbers = (any::<u32>(), any::<u32>(), 1..=u32::MAX);
    (node_name(), numbers).prop_map(|(node, (id, serial, creation))| Pid { node, id, serial, creation })
}

fn identifier() -> impl Strategy<Value = Term> {
    let port = (node_name(), prop_oneof![any::<u64>(), 0..1_u64 << 28], 1..=u32::MAX);
    // Erlang's own have 18 bits in the first word.
    let reference = (node_name(), 1..=u32::MAX, 0..1_u32 << 18, vec(any::<u32>(), 0..=4));
    prop_oneof![
        pid().prop_map(Term::from),
        port.prop_map(|(node, id, creation)| Port { node, id, creation }.into()),
        reference.prop_map(|(node, creation, first, mut words)| {
            words.insert(0, first);
            Reference::new(node, creation, &words).unwrap().into()
        }),
    ]
}

fn bits() -> impl Strategy<Value = Term> {
    prop_oneof![
        vec(any::<u8>(), 0..80).prop_map(|bytes| Term::Binary(bytes.into())),
        (vec(any::<u8>(), 1..12), 1..=7_u8)
            .prop_map(|(bytes, bits)| Term::BitString(Box::new(BitString::new(bytes.into(), bits).unwrap()))),
    ]
}

fn flat() -> impl Strategy<Value = Term> {
    // Before OTP 27, 0.0 and -0.0 are one key of a map, and a map with both closes the connection.
    let float = any::<f64>()
        .prop_filter("a float on the wire is finite", |float| float.is_finite())
        .prop_map(|float| Term::Float(if float == 0.0 { 0.0 } else { float }));
    let external = (atom(), atom(), any::<u8>())
        .prop_map(|(module, function, arity)| Fun::External { module, function, arity }.into());
    prop_oneof![
        3 => integer(), 1 => float, 2 => atom().prop_map(Term::from), 1 => identifier(),
        2 => bits(), 1 => external, 1 => "\\PC{0,12}".prop_map(|text| Term::charlist(&text)),
    ]
}

fn term(maker: Pid) -> impl Strategy<Value = Term> {
    flat().prop_recursive(5, 60, 6, move |inner| {
        let head = (any::<(u8, [u8; 16], i32, i32)>(), 0..1_u32 << 16, atom(), Just(maker.clone()));
        let fun = (head, vec(inner.clone(), 0..3)).prop_map(
            |(((arity, uniq, old_index, old_uniq), index, module, pid), free)| {
                let (old_index, old_uniq) = (i64::from(old_index), i64::from(old_uniq));
                let head = FunHead { arity, uniq, index, module, old_index, old_uniq, pid };
                Fun::Internal { head, free: free.into() }.into()
            },
        );
        prop_oneof![
            3 => vec(inner.clone(), 0..6).prop_map(Term::list),
            1 => (vec(inner.clone(), 0..4), inner.clone())
                .prop_map(|(list, tail)| Term::list_with_tail(list, tail)),
            3 => vec(inner.clone(), 0..6).prop_map(Term::tuple),
            3 => vec((inner.clone(), inner.clone()), 0..6).prop_map(Term::map),
            1 => vec(any::<(u32, u8)>(), 33..60)
                .prop_map(|pairs| Term::map(pairs.into_iter().map(|(key, value)| (key.into(), value.into())))),
            1 => fun,
        ]
    })
}
