//! The work of beamline's benchmarks, done by other Rust libraries: `beamline-peers QUESTION [--quick]` prints one sample a line, as
//! `row TAB peer TAB value`. Rows are named and values counted as the benchmarks of the same name do.

mod actix;
mod eetf;
mod kameo;
mod ractor;
mod xtra;

use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::JoinHandle;

use crate::actix::{Actix, ActixArbiter};
use crate::kameo::Kameo;
use crate::ractor::Ractor;
use crate::xtra::Xtra;

/// What every actor library can do. A server replies to a call with what it was called with, and drops what it is cast.
trait Actors: 'static {
    const NAME: &'static str;
    type Server: Clone + Send + Sync + 'static;

    /// Runs work as a task where the library's users would: on tokio's threads, unless it has a runtime of its own.
    fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
        run_on(Builder::new_multi_thread().enable_all(), work)
    }
    /// The same on the calling thread alone.
    fn run_on_one_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
        run_on(Builder::new_current_thread().enable_all(), work)
    }
    /// A task where [`Actors::run`] runs.
    fn spawn(work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        tokio::spawn(work)
    }

    /// Starts a server with an unbounded mailbox, and waits until it has started where the library can tell.
    fn start() -> impl Future<Output = Self::Server> + Send;
    fn call(server: &Self::Server, n: i64) -> impl Future<Output = i64> + Send;
    fn cast(server: &Self::Server, n: i64) -> impl Future<Output = ()> + Send;
    /// Tells all to stop, then waits until each has.
    fn stop(servers: Vec<Self::Server>) -> impl Future<Output = ()> + Send;
}

struct Options {
    question: String,
    quick: bool,
}

impl Options {
    fn operations(&self, operations: u32) -> u32 {
        if self.quick { operations / 5 } else { operations }
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let question = args.next().unwrap_or_default();
    let options = Options { question, quick: args.any(|arg| arg == "--quick") };
    if let Some(peer) = options.question.strip_prefix("idle ") {
        // Alone in its process, as it is about memory.
        match peer {
            "xtra" => idle::<Xtra>(&options),
            "kameo" => idle::<Kameo>(&options),
            "ractor" => idle::<Ractor>(&options),
            _ => idle::<Actix>(&options),
        }
        return;
    }
    match options.question.as_str() {
        "etf" => eetf::run(&options),
        "idle_process" => {
            for peer in ["xtra", "kameo", "ractor", "actix"] {
                let exe = std::env::current_exe().expect("a path");
                let quick = if options.quick { "--quick" } else { "--whole" };
                let idle = std::process::Command::new(exe).args([&format!("idle {peer}"), quick]).status();
                assert!(idle.is_ok_and(|status| status.success()), "{peer}");
            }
        }
        _ => {
            run::<Xtra>(&options);
            run::<Kameo>(&options);
            run::<Ractor>(&options);
            run_actix(&options);
        }
    }
}

fn print(row: &str, peer: &str, value: f64) {
    println!("{row}\t{peer}\t{value}");
}

fn run_on<T: Send + 'static>(runtime: &mut Builder, work: impl Future<Output = T> + Send + 'static) -> T {
    let runtime = runtime.build().expect("threads");
    let result = runtime.block_on(runtime.spawn(work)).expect("it does not panic");
    // Whoever waits in what is left waits no longer.
    runtime.shutdown_background();
    result
}

/// Does work once to warm up and once for the sample. It says how long it took.
fn measure(row: &str, peer: &str, operations: u32, mut work: impl FnMut(u32) -> Duration) {
    work(operations);
    print(row, peer, work(operations).as_nanos() as f64 / f64::from(operations));
}

async fn all<A: Actors, F: Future<Output = ()> + Send + 'static>(works: impl Iterator<Item = F>) -> Duration {
    let works: Vec<F> = works.collect();
    let start = Instant::now();
    let tasks: Vec<_> = works.into_iter().map(A::spawn).collect();
    for task in tasks {
        task.await.expect("it does not panic");
    }
    start.elapsed()
}

fn run<A: Actors>(options: &Options) {
    match options.question.as_str() {
        "local_call" => local_call::<A>(options),
        "local_pairs" => local_pairs::<A>(options),
        "one_way" => {
            one_way::<A>(options);
            one_way_on_one_thread::<A>(options);
        }
        "spawn" => spawn::<A>(options),
        _ => {}
    }
}

fn run_actix(options: &Options) {
    match options.question.as_str() {
        "local_call" => local_call::<Actix>(options),
        "local_pairs" => measure("120 pairs", Actix::NAME, options.operations(1_200_000), actix::pairs),
        "one_way" => {
            one_way::<ActixArbiter>(options);
            one_way_on_one_thread::<Actix>(options);
        }
        "spawn" => spawn::<Actix>(options),
        _ => {}
    }
}

fn local_call<A: Actors>(options: &Options) {
    measure("local call", A::NAME, options.operations(100_000), |times| {
        A::run(async move {
            let server = A::start().await;
            let start = Instant::now();
            for n in 0..i64::from(times) {
                assert_eq!(A::call(&server, n).await, n);
            }
            start.elapsed()
        })
    });
}

fn local_pairs<A: Actors>(options: &Options) {
    measure("120 pairs", A::NAME, options.operations(1_200_000), |calls| {
        A::run(async move {
            let mut servers = Vec::new();
            for _ in 0..120 {
                servers.push(A::start().await);
            }
            all::<A, _>(servers.into_iter().map(|server| async move {
                for n in 0..i64::from(calls / 120) {
                    assert_eq!(A::call(&server, n).await, n);
                }
            }))
            .await
        })
    });
}

async fn casts<A: Actors>(senders: u32, casts: u32) -> Duration {
    let server = A::start().await;
    let sender = || {
        let server = server.clone();
        async move {
            for n in 0..i64::from(casts / senders) {
                A::cast(&server, n).await;
            }
            A::call(&server, 0).await;
        }
    };
    all::<A, _>((0..senders).map(|_| sender())).await
}

fn one_way<A: Actors>(options: &Options) {
    for senders in [1, 4] {
        measure(&format!("one-way {senders} to 1"), A::NAME, options.operations(1_000_000), |times| {
            A::run(casts::<A>(senders, times))
        });
    }
}

fn one_way_on_one_thread<A: Actors>(options: &Options) {
    for senders in [1, 4] {
        let row = format!("one-way {senders} to 1, one thread");
        measure(&row, A::NAME, options.operations(1_000_000), |times| {
            A::run_on_one_thread(casts::<A>(senders, times))
        });
    }
}

fn spawn<A: Actors>(options: &Options) {
    let many = options.operations(100_000);
    A::run(start_and_stop::<A>(many));
    let (start, stop) = A::run(start_and_stop::<A>(many));
    let each = |took: Duration| took.as_nanos() as f64 / f64::from(many);
    print("start a server", A::NAME, each(start));
    print("stop a server", A::NAME, each(stop));
}

async fn start_and_stop<A: Actors>(many: u32) -> (Duration, Duration) {
    let start = Instant::now();
    let mut servers = Vec::new();
    for _ in 0..many {
        servers.push(A::start().await);
    }
    let started = start.elapsed();
    let stop = Instant::now();
    A::stop(servers).await;
    (started, stop.elapsed())
}

/// Bytes that an idle server is resident in.
fn idle<A: Actors>(options: &Options) {
    let many = if options.quick { 50_000 } else { 1_000_000 };
    A::run(async move {
        let mut servers = Vec::with_capacity(many);
        let before = resident_bytes();
        for _ in 0..many {
            let server = A::start().await;
            // It has run, and waits.
            A::call(&server, 0).await;
            servers.push(server);
        }
        print("idle process, bytes", A::NAME, (resident_bytes() - before) / many as f64);
        // Nobody waits for a million of them to end.
        std::process::exit(0)
    })
}

fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4096.0
}
