//! The io protocol with a live Erlang node: formats, devices of either side, group leaders, log events.

use std::sync::{Arc, Mutex};

use beamline::io::IoError;
use beamline::node::Node;
use beamline::process::{Context, ExitReason};
use beamline::term::{Atom, BigInt, BitString, Term};
use beamline_interop::{Cluster, ErlNode, eventually};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const FORMATS: &str = include_str!("erlang/io_formats.erl");
const ERL: &str = "erl@127.0.0.1";
const CASES: usize = 6000;

async fn formatting_erl(cluster: &Cluster) -> ErlNode {
    let mut erl = cluster.erl("erl").args(["+pc", "unicode"]).start().await;
    erl.load(FORMATS).await;
    erl
}

#[tokio::test(flavor = "multi_thread")]
async fn random_formats_make_the_same_text_as_io_lib() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = formatting_erl(&cluster).await;
    erl.eval("io_formats:serve(formats)").await;
    let node = cluster.node("rust").await;
    let mut runner = TestRunner::new_with_rng(
        Config { failure_persistence: None, ..Config::default() },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let cases: Vec<(String, Vec<Term>)> =
        (0..CASES).map(|_| format().new_tree(&mut runner).expect("a format").current()).collect();
    let (mut texts, mut lines, mut differ) = (0, 0, Vec::new());
    for cases in cases.chunks(100) {
        let formats = cases.iter().map(|(format, arguments)| {
            Term::tuple([Term::charlist(format), Term::list(arguments.iter().cloned())])
        });
        let to = ("formats", ERL);
        let answers: Vec<Term> = node.call(to, Term::list(formats)).await.expect("an answer");
        assert_eq!(answers.len(), cases.len());
        for ((format, arguments), answer) in cases.iter().zip(answers) {
            // From OTP 26 on the order of a map's keys is its own.
            if erl.otp_release() > 25 && arguments.iter().any(|argument| format!("{argument}").contains("#{"))
            {
                continue;
            }
            let ours = beamline::io::format(format, arguments);
            let expected = answer.as_str();
            texts += usize::from(expected.is_some());
            lines += usize::from(expected.is_some_and(|text| text.lines().count() > 3));
            if ours.as_deref().ok() != expected {
                differ.push(format!("{format:?} {arguments:?}\n  erlang {expected:?}\n  ours   {ours:?}"));
            }
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ[..differ.len().min(8)].join("\n"));
    // Most are no errors, and many are long.
    assert!(texts > CASES / 2 && lines > CASES / 50, "{texts} texts, {lines} of several lines");
}

/// A node whose output is kept.
async fn printing_node(cluster: &Cluster) -> (Node, Arc<Mutex<String>>) {
    let printed = Arc::<Mutex<String>>::default();
    let keep = printed.clone();
    let keep = move |text: &str| {
        keep.lock().unwrap().push_str(text);
        Ok(())
    };
    let node = cluster.builder("rust").user(keep).start().await.expect("the node starts");
    // Whoever asks it for it is told its group leader.
    let tell = |mut cx: Context<Term>| async move {
        loop {
            if let Some(from) = cx.receive().await.as_pid() {
                let _ = cx.send(from, ("leader", cx.group_leader()));
            }
        }
    };
    let pid = node.spawn(tell).expect("room");
    node.register("tell", &pid).expect("a free name");
    (node, printed)
}

const LEADER: &str = "{tell, 'rust@127.0.0.1'} ! self(), Leader = receive {<<\"leader\">>, P} -> P after 5000 -> none end, node(Leader)";

#[tokio::test(flavor = "multi_thread")]
async fn what_erlang_prints_on_a_group_leader_here_is_printed_here() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = formatting_erl(&cluster).await;
    let (_node, printed) = printing_node(&cluster).await;
    assert_eq!(erl.eval(LEADER).await, "'rust@127.0.0.1'");
    let on_it = |expressions: &str| {
        format!(
            "(fun() -> Old = group_leader(), group_leader(Leader, self()), R = (catch begin {expressions} end),
             group_leader(Old, self()), R end)()"
        )
    };
    let cases = [
        ("io:format(\"~p ~s~n\", [{a, [1, 2]}, \"text\"])", "ok", "{a,[1,2]} text\n"),
        ("io:format(\"~ts\", [[9731, <<\"é\"/utf8>>]])", "ok", "☃é"),
        ("io:put_chars([\"a\", [9731]])", "ok", "a☃"),
        ("io:request(Leader, {put_chars, latin1, <<233>>})", "ok", "é"),
        ("io:write({a, \"b\"})", "ok", "{a,[98]}"),
        ("io:nl()", "ok", "\n"),
        ("io:fwrite(\"no arguments~n\")", "ok", "no arguments\n"),
        // A process of Erlang's, and one that it spawns, inherit it.
        (
            "{_, M} = spawn_monitor(fun() -> spawn_monitor(fun() -> io:format(\"inherited\") end), receive {'DOWN', _, _, _, W} -> exit(W) end end), receive {'DOWN', M, _, _, Why} -> Why end",
            "normal",
            "inherited",
        ),
        ("io:requests([{put_chars, unicode, \"1\"}, nl, {format, \"~w\", [2]}])", "ok", "1\n2"),
        ("io:get_line(\"> \")", "eof", ""),
        ("io:get_chars(\"> \", 3)", "eof", ""),
        ("io:fread(\"> \", \"~d\")", "eof", ""),
        ("io:setopts([{encoding, unicode}])", "ok", ""),
        ("io:getopts()", "[{binary,false},{encoding,unicode}]", ""),
        ("io:columns()", "{error,enotsup}", ""),
        ("element(1, element(2, catch io:format(\"~p\", [])))", "badarg", ""),
        ("element(1, element(2, catch io:format(\"~s\", [[9731]])))", "badarg", ""),
        ("io:request(Leader, {unheard, question})", "{error,{request,{unheard,question}}}", ""),
        ("io:format(\"still there\")", "ok", "still there"),
    ];
    for (expressions, answer, text) in cases {
        assert_eq!(erl.eval(&on_it(expressions)).await, answer, "{expressions}");
        assert_eq!(std::mem::take(&mut *printed.lock().unwrap()), text, "{expressions}");
    }
    // By its name, too.
    let named = "{user, 'rust@127.0.0.1'} ! {io_request, self(), as, {put_chars, unicode, <<\"named\">>}}, receive {io_reply, as, Reply} -> Reply after 5000 -> none end";
    assert_eq!(erl.eval(named).await, "ok");
    assert_eq!(*printed.lock().unwrap(), "named");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_here_prints_on_a_device_of_erlangs() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut erl = formatting_erl(&cluster).await;
    let node = cluster.node("rust").await;
    let before = node.process_count();
    erl.eval("io_formats:device(device)").await;
    let device = node.io(("device", ERL));
    device.put_chars("hot ☃\n").await.expect("it takes text");
    device.format("~p~5w|~n", &[Term::charlist("tea"), 7.into()]).await.expect("and formats");
    let kept = "device ! {get, self()}, receive {kept, Text} -> Text after 5000 -> none end";
    assert_eq!(erl.eval(kept).await, "\"hot ☃\\n\\\"tea\\\"    7|\\n\"");
    let refused = device.request(Term::atom("getopts")).await;
    assert!(
        matches!(&refused, Err(IoError::Refused { reason, .. }) if reason.is_atom("request")),
        "{refused:?}"
    );
    // The real one of the node, as its processes have it.
    let shell = node.io(("user", ERL));
    shell.format("", &[]).await.expect("user takes nothing, too");
    assert!(shell.request(Term::atom("getopts")).await.expect("options").as_list().is_some());
    // One that ends before it answers, and one that is not there.
    let silent = "register(silent, spawn(fun() -> receive {io_request, _, _, _} -> exit(bored) end end))";
    assert_eq!(erl.eval(silent).await, "true");
    for (name, expected) in
        [("silent", ExitReason::from(Term::atom("bored"))), ("nobody", ExitReason::NoProc)]
    {
        match node.io((name, ERL)).put_chars("?").await {
            Err(IoError::Terminated { reason, .. }) => assert_eq!(reason, expected, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    // Whoever gives up waiting leaves no process behind.
    erl.eval("register(mute, spawn(fun() -> receive stop -> ok end end))").await;
    let mute = node.io(("mute", ERL));
    let waiting = node.world().timeout(std::time::Duration::from_millis(50), mute.put_chars("?"));
    assert!(waiting.await.is_err());
    eventually("nobody waits any more", async || node.process_count() == before).await;
}

fn format() -> impl Strategy<Value = (String, Vec<Term>)> {
    let literal = prop_oneof!["[ a-zÖ☃\\n\\t.:]{0,12}"].prop_map(|text: String| (text, Vec::new()));
    let piece = prop_oneof![2 => literal, 5 => control()];
    // Now and then an argument is missing, or left over.
    (vec(piece, 1..5), 0..40_u8).prop_map(|(pieces, wrong)| {
        let format = pieces.iter().map(|(format, _)| format.as_str()).collect();
        let mut arguments: Vec<Term> = pieces.into_iter().flat_map(|(_, arguments)| arguments).collect();
        match wrong {
            0 => drop(arguments.pop()),
            1 => arguments.push(Term::nil()),
            _ => {}
        }
        (format, arguments)
    })
}

/// `~F.P.PadModC`, and its arguments.
fn control() -> impl Strategy<Value = (String, Vec<Term>)> {
    let width =
        prop_oneof![4 => Just(None), 3 => (-12..40_i64).prop_map(Some), 1 => (-3..120_i64).prop_map(Some)];
    let precision = prop_oneof![3 => Just(None), 2 => (0..25_i64).prop_map(Some)];
    let pad = prop_oneof![4 => Just(String::new()), 1 => "[0*._Ö]"];
    let modifier = prop_oneof![4 => Just(""), 4 => Just("t"), 1 => Just("l"), 1 => Just("tl")];
    let by_argument = (any::<bool>(), 0..4_u8);
    let of = prop_oneof![
        12 => (prop_oneof![Just('w'), Just('p'), Just('p')], term().prop_map(|term| vec![term])),
        5 => (prop_oneof![Just('W'), Just('P')], (term(), -1..12_i64).prop_map(|(term, depth)| vec![term, depth.into()])),
        6 => (Just('s'), prop_oneof![text(), text(), term()].prop_map(|text| vec![text])),
        5 => (prop_oneof![Just('e'), Just('f'), Just('g')], float().prop_map(|float| vec![float])),
        4 => (prop_oneof![Just('b'), Just('B'), Just('+'), Just('#')], integer().prop_map(|integer| vec![integer])),
        2 => (prop_oneof![Just('x'), Just('X')],
              (integer(), prop_oneof![Just(Term::charlist("0x")), Just(Term::atom("pre"))])
                  .prop_map(|(integer, prefix)| vec![integer, prefix])),
        1 => (Just('c'), prop_oneof![32..256_i64, Just(0x2603)].prop_map(|code| vec![code.into()])),
        1 => (prop_oneof![Just('~'), Just('n')], Just(Vec::new())),
        1 => (Just('i'), term().prop_map(|term| vec![term])),
        1 => (Just('z'), term().prop_map(|term| vec![term])),
    ];
    (width, precision, pad, modifier, by_argument, of).prop_map(
        |(width, precision, pad, modifier, (by_argument, sparse), (control, arguments))| {
            // Most controls of real formats are bare.
            let (width, precision, pad) =
                if sparse == 0 { (None, None, String::new()) } else { (width, precision, pad) };
            let mut format = "~".to_owned();
            let mut all = Vec::new();
            let mut number = |value: i64, format: &mut String| {
                if by_argument && value >= 0 {
                    format.push('*');
                    all.push(Term::from(value));
                } else {
                    format.push_str(&value.to_string());
                }
            };
            if let Some(width) = width {
                number(width, &mut format);
            }
            if let Some(precision) = precision {
                format.push('.');
                number(precision, &mut format);
            }
            if pad == "*" {
                format.push_str(if precision.is_some() { ".*" } else { "..*" });
                all.push(Term::from(i64::from(u32::from('+'))));
            } else if !pad.is_empty() {
                format.push_str(if precision.is_some() { "." } else { ".." });
                format.push_str(&pad);
            }
            format.push_str(modifier);
            format.push(control);
            all.extend(arguments);
            (format, all)
        },
    )
}

fn integer() -> impl Strategy<Value = Term> {
    prop_oneof![
        3 => (-300..300_i64).prop_map(Term::from),
        1 => any::<i64>().prop_map(Term::from),
        1 => (any::<bool>(), vec(any::<u8>(), 8..40))
            .prop_map(|(negative, bytes)| Term::from(BigInt::from_bytes_le(negative, &bytes))),
    ]
}

fn float() -> impl Strategy<Value = Term> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    prop_oneof![
        (POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO).prop_map(Term::Float),
        (-20000..20000_i32, 0..5_i32)
            .prop_map(|(value, tens)| Term::Float(f64::from(value) / 10_f64.powi(tens))),
        (0..3_u8, 0..6_i32).prop_map(|(kind, tens)| {
            Term::Float(
                match kind {
                    0 => 9.999_999_5,
                    1 => 0.5,
                    _ => 99_999.995,
                } * 10_f64.powi(-tens),
            )
        }),
    ]
}

fn atom() -> impl Strategy<Value = Term> {
    prop_oneof![6 => "[a-z]{1,12}", 1 => "[a-c Öλ☃]{0,3}", 1 => Just("end".to_owned())]
        .prop_map(|text| Atom::new(&text).expect("short").into())
}

/// What `~s` takes, and a little of what it does not.
fn text() -> impl Strategy<Value = Term> {
    let leaf = prop_oneof![
        "[ -~]{0,12}".prop_map(|text| Term::charlist(&text)),
        "[ -~äß]{0,12}".prop_map(|text| Term::charlist(&text)),
        "[a-zäλ☃]{0,12}".prop_map(Term::from),
        "[a-zλ]{0,6}".prop_map(|text| Term::charlist(&text)),
        vec(any::<u8>(), 0..6).prop_map(|bytes| Term::Binary(bytes.into())),
    ];
    let deep = leaf.clone().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Term::list),
            (vec(inner.clone(), 1..3), "[a-z]{1,3}")
                .prop_map(|(list, tail)| Term::list_with_tail(list, tail.into())),
        ]
    });
    prop_oneof![3 => leaf, 2 => deep, 1 => atom()]
}

fn term() -> impl Strategy<Value = Term> {
    let bits = (vec(any::<u8>(), 1..30), 1..8_u8).prop_map(|(mut bytes, bits)| {
        let last = bytes.last_mut().expect("at least one");
        *last &= 0xFF_u8 << (8 - bits);
        BitString::new(Bytes::from(bytes), bits)
            .map_or_else(Term::nil, |bits| Term::BitString(Box::new(bits)))
    });
    let leaf = prop_oneof![
        4 => integer(),
        2 => float(),
        5 => atom(),
        3 => text(),
        1 => "\\PC{0,20}".prop_filter("no clusters of several characters", |text| text.is_ascii()).prop_map(Term::from),
        1 => vec(any::<u8>(), 0..60).prop_map(|bytes| Term::Binary(bytes.into())),
        1 => ("[a-zé]{5,30}", vec(any::<u8>(), 0..4)).prop_map(|(text, more)| {
            Term::Binary([text.as_bytes(), &more].concat().into())
        }),
        1 => bits,
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        prop_oneof![
            2 => vec(inner.clone(), 0..8).prop_map(Term::list),
            2 => vec(inner.clone(), 0..8).prop_map(Term::tuple),
            3 => (atom(), vec(inner.clone(), 0..6)).prop_map(|(tag, rest)| Term::tuple([tag].into_iter().chain(rest))),
            2 => vec((inner.clone(), inner.clone()), 0..6).prop_map(Term::map),
            1 => (vec(inner.clone(), 1..5), inner).prop_map(|(list, tail)| Term::list_with_tail(list, tail)),
        ]
    })
}
