//! How many system calls does a small message to another node take that waits with others?
//!
//! `strace` counts them, and makes each so slow that a sender would find its connection idle for every message. So all wait behind
//! one large binary.

use std::process::{Command, Stdio};

use beamline::term::Term;
use beamline_benches::echo::{node, run_in_process, runtime};
use beamline_benches::peer::Peer;
use beamline_benches::{Table, role};
use bytes::Bytes;

/// So many that the node's start and the large binary, which take as many calls whatever is cast, are little beside them.
const CASTS: u32 = 100_000;

fn main() {
    if let Some((role, argument)) = role()
        && role == "sender"
    {
        let (epmd_port, casts) = argument.split_once(':').expect("a port and a number");
        send(epmd_port.parse().expect("a port"), casts.parse().expect("a number"));
        return;
    }
    let peer = Peer::start();
    if traced(&["true"]).is_none() {
        println!("strace is not installed, or may not trace here: system calls are not counted.");
        return;
    }
    let calls_for = |casts: u32| {
        let exe = std::env::current_exe().expect("a path");
        let argument = format!("{}:{casts}", peer.epmd_port);
        let calls = traced(&[&exe.display().to_string(), "--role", "sender", &argument]);
        calls.expect("strace counts")
    };
    let mut table = Table::new(
        "System calls, those for memory apart, that the sending node makes for a small message that waits with others",
        "calls",
        "one write for each message",
    );
    // With those of the node's start and end, and of the large binary: a few hundred.
    let each = || calls_for(CASTS) / f64::from(CASTS);
    table.sample("system calls a queued message", each, || 1.0);
    table.print();
}

fn send(epmd_port: u16, casts: u32) {
    let runtime = runtime();
    let node = node(&runtime, "bench@127.0.0.1", epmd_port);
    let large = Term::from(Bytes::from(vec![7; 32 << 20]));
    run_in_process(&runtime, &node, move |cx| async move {
        cx.cast(Peer::server(0), &large).expect("it has an external form");
        let server = Peer::server(0);
        for _ in 0..casts {
            cx.cast(server.clone(), &42).expect("it has an external form");
        }
        let reply = cx.call::<Term, _>(Peer::server(0), 42).infinity().await;
        assert!(reply.is_ok(), "{reply:?}");
    });
    runtime.block_on(node.stop());
}

/// The allocator asks for the memory that the queue takes, a few pages at a time, whoever queues.
const WITHOUT_MEMORY: &str = "trace=!mprotect,mmap,munmap,mremap,madvise,brk";

/// How many system calls a program makes, all its threads together, those for memory apart.
fn traced(program: &[&str]) -> Option<f64> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-e", WITHOUT_MEMORY, "-o", "/dev/stdout"]).args(program).stderr(Stdio::null());
    let output = strace.output().ok()?;
    let summary = String::from_utf8_lossy(&output.stdout).into_owned();
    // The last line: `100.00    0.012345          12      1029        37 total`.
    let total = summary.lines().rev().find(|line| line.trim_end().ends_with("total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}
