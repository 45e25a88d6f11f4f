//! The work of beamline's benchmarks, done by other Rust libraries: `beamline-peers QUESTION [--quick]` prints one sample a line, as
//! `row TAB peer TAB value`. Rows are named and values counted as the benchmarks of the same name do.

mod eetf;
mod kameo;
mod ractor;
mod xtra;

use std::time::{Duration, Instant};

/// What every actor library can do. A server replies to a call with what it was called with, and drops what it is cast.
trait Actors: 'static {
    const NAME: &'static str;
    type Server: Clone + Send + Sync + 'static;

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
            "xtra" => idle::<xtra::Xtra>(&options),
            "kameo" => idle::<kameo::Kameo>(&options),
            _ => idle::<ractor::Ractor>(&options),
        }
        return;
    }
    match options.question.as_str() {
        "etf" => eetf::run(&options),
        "idle_process" => {
            for peer in ["xtra", "kameo", "ractor"] {
                let exe = std::env::current_exe().expect("a path");
                let quick = if options.quick { "--quick" } else { "--whole" };
                let idle = std::process::Command::new(exe).args([&format!("idle {peer}"), quick]).status();
                assert!(idle.is_ok_and(|status| status.success()), "{peer}");
            }
        }
        _ => {
            run::<xtra::Xtra>(&options);
            run::<kameo::Kameo>(&options);
            run::<ractor::Ractor>(&options);
        }
    }
}

fn print(row: &str, peer: &str, value: f64) {
    println!("{row}\t{peer}\t{value}");
}

/// Runs work once to warm up and once for the sample.
fn measure<A: Actors, F: Future<Output = Duration> + Send + 'static>(
    row: &str,
    operations: u32,
    work: impl Fn(u32) -> F,
) {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let run = |operations| runtime.block_on(runtime.spawn(work(operations))).expect("it does not panic");
    run(operations / 4 + 1);
    print(row, A::NAME, run(operations).as_nanos() as f64 / f64::from(operations));
    // Whoever waits in what is left waits no longer.
    runtime.shutdown_background();
}

async fn all<F: Future<Output = ()> + Send + 'static>(works: impl Iterator<Item = F>) -> Duration {
    let works: Vec<F> = works.collect();
    let start = Instant::now();
    let tasks: Vec<_> = works.into_iter().map(tokio::spawn).collect();
    for task in tasks {
        task.await.expect("it does not panic");
    }
    start.elapsed()
}

fn run<A: Actors>(options: &Options) {
    match options.question.as_str() {
        "local_call" => measure::<A, _>("local call", options.operations(100_000), |times| async move {
            let server = A::start().await;
            let start = Instant::now();
            for n in 0..i64::from(times) {
                assert_eq!(A::call(&server, n).await, n);
            }
            start.elapsed()
        }),
        "local_pairs" => measure::<A, _>("120 pairs", options.operations(1_200_000), |calls| async move {
            let mut servers = Vec::new();
            for _ in 0..120 {
                servers.push(A::start().await);
            }
            all(servers.into_iter().map(|server| async move {
                for n in 0..i64::from(calls / 120) {
                    assert_eq!(A::call(&server, n).await, n);
                }
            }))
            .await
        }),
        "one_way" => {
            for senders in [1, 4] {
                let row = format!("one-way {senders} to 1");
                measure::<A, _>(&row, options.operations(1_000_000), |casts| async move {
                    let server = A::start().await;
                    all((0..senders).map(|_| {
                        let server = server.clone();
                        async move {
                            for n in 0..i64::from(casts / senders) {
                                A::cast(&server, n).await;
                            }
                            A::call(&server, 0).await;
                        }
                    }))
                    .await
                });
            }
        }
        "spawn" => {
            let many = options.operations(100_000);
            measure::<A, _>("start a server", many, |many| async move { start_and_stop::<A>(many).await.0 });
            measure::<A, _>("stop a server", many, |many| async move { start_and_stop::<A>(many).await.1 });
        }
        _ => {}
    }
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
    let many = if options.quick { 100_000 } else { 1_000_000 };
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let each = runtime.block_on(runtime.spawn(async move {
        let mut servers = Vec::with_capacity(many);
        let before = resident_bytes();
        for _ in 0..many {
            let server = A::start().await;
            // It has run, and waits.
            A::call(&server, 0).await;
            servers.push(server);
        }
        (resident_bytes() - before) / many as f64
    }));
    print("idle process, bytes", A::NAME, each.expect("it does not panic"));
    std::process::exit(0);
}

fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4096.0
}
