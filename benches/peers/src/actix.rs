//! actix: actors are bound to the thread of an arbiter, which is a runtime of one thread.
//!
//! A call to another arbiter wakes a thread through the system each way (21 µs), so callers stand in their actor's arbiter as its
//! users do it: [`Actix`] has one, and 120 pairs are dealt over one a core. [`ActixArbiter`] is for one-way messages on the runtime
//! that the others have: senders on its threads, the actor in an arbiter.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ::actix::prelude::*;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Actors;

pub struct Actix;
pub struct ActixArbiter;

pub struct Echo {
    /// Told when the actor has stopped.
    stopped: Option<oneshot::Sender<()>>,
}

#[derive(Message)]
#[rtype(result = "i64")]
struct Call(i64);

#[derive(Message)]
#[rtype(result = "()")]
struct Cast(i64);

#[derive(Message)]
#[rtype(result = "()")]
struct Stop(oneshot::Sender<()>);

impl Actor for Echo {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Context<Self>) {
        if let Some(stopped) = self.stopped.take() {
            let _ = stopped.send(());
        }
    }
}

impl Handler<Call> for Echo {
    type Result = i64;

    fn handle(&mut self, Call(n): Call, _: &mut Context<Self>) -> i64 {
        n
    }
}

impl Handler<Cast> for Echo {
    type Result = ();

    fn handle(&mut self, Cast(n): Cast, _: &mut Context<Self>) {
        std::hint::black_box(n);
    }
}

impl Handler<Stop> for Echo {
    type Result = ();

    fn handle(&mut self, Stop(stopped): Stop, context: &mut Context<Self>) {
        self.stopped = Some(stopped);
        context.stop();
    }
}

fn echo() -> Echo {
    Echo { stopped: None }
}

async fn call(server: &Addr<Echo>, n: i64) -> i64 {
    server.send(Call(n)).await.expect("it is alive")
}

/// What `send` waits for is room in the mailbox; `do_send` has no bound, as the mailboxes of the others.
fn cast(server: &Addr<Echo>, n: i64) {
    server.do_send(Cast(n));
}

impl Actors for Actix {
    const NAME: &'static str = "actix";
    type Server = Addr<Echo>;

    fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
        System::new().block_on(work)
    }

    fn run_on_one_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
        Self::run(work)
    }

    fn spawn(work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        ::actix::spawn(work)
    }

    async fn start() -> Self::Server {
        echo().start()
    }

    async fn call(server: &Self::Server, n: i64) -> i64 {
        call(server, n).await
    }

    async fn cast(server: &Self::Server, n: i64) {
        cast(server, n);
    }

    async fn stop(servers: Vec<Self::Server>) {
        let ends: Vec<_> = servers
            .iter()
            .map(|server| {
                let (stopped, end) = oneshot::channel();
                server.do_send(Stop(stopped));
                end
            })
            .collect();
        for end in ends {
            end.await.expect("it stops");
        }
    }
}

/// How long calls of 120 pairs take that are dealt over an arbiter a core.
pub fn pairs(calls: u32) -> Duration {
    System::new().block_on(async move {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let arbiters: Vec<Arbiter> = (0..cores).map(|_| Arbiter::new()).collect();
        let start = Instant::now();
        let ends: Vec<_> = (0..120)
            .map(|n| {
                let (ended, end) = oneshot::channel();
                arbiters[n % cores].spawn(async move {
                    let server = echo().start();
                    for n in 0..i64::from(calls / 120) {
                        assert_eq!(call(&server, n).await, n);
                    }
                    let _ = ended.send(());
                });
                end
            })
            .collect();
        for end in ends {
            end.await.expect("it does not panic");
        }
        start.elapsed()
    })
}

static ARBITER: OnceLock<Mutex<ArbiterHandle>> = OnceLock::new();

impl Actors for ActixArbiter {
    const NAME: &'static str = "actix";
    type Server = Addr<Echo>;

    fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
        // An arbiter is started from a thread that has a system, and its handle taken to those that have none.
        let _system = System::new();
        ARBITER.get_or_init(|| Mutex::new(Arbiter::new().handle()));
        crate::run_on(tokio::runtime::Builder::new_multi_thread().enable_all(), work)
    }

    async fn start() -> Self::Server {
        let arbiter = ARBITER.get().expect("it is started");
        let arbiter = arbiter.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Echo::start_in_arbiter(&arbiter, |_| echo())
    }

    async fn call(server: &Self::Server, n: i64) -> i64 {
        call(server, n).await
    }

    async fn cast(server: &Self::Server, n: i64) {
        cast(server, n);
    }

    async fn stop(servers: Vec<Self::Server>) {
        Actix::stop(servers).await;
    }
}
