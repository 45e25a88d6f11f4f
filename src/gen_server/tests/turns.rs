//! What a server with many casts lets in between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::local;
use crate::gen_server::{Context, GenServer, Reply, ReplyTo, Start};
use crate::process::{ExitReason, SpawnOptions, spawn};
use crate::term::{Reference, Term};

const MANY: u32 = 10_000;

/// What it was cast so far, and how much of that when a message came that was none.
#[derive(Default)]
struct Seen {
    casts: AtomicU32,
    before_the_message: AtomicU32,
}

/// Counts what it is cast. With the first it sends itself a priority message.
struct Counts {
    seen: Arc<Seen>,
    alias: Reference,
}

impl GenServer for Counts {
    type Args = Arc<Seen>;
    type Call = ();
    type Reply = ();
    type Cast = ();
    type Info = Term;

    async fn init(seen: Self::Args, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self { seen, alias: cx.alias_priority() })
    }

    async fn handle_call(
        &mut self,
        (): (),
        from: ReplyTo<()>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(()))
    }

    async fn handle_cast(&mut self, (): (), cx: &mut Context<Self>) -> Result<(), ExitReason> {
        if self.seen.casts.fetch_add(1, Ordering::Relaxed) == 0 {
            cx.send_priority(&self.alias, &"urgent").unwrap();
        }
        Ok(())
    }

    async fn handle_info(&mut self, _: Term, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.seen.before_the_message.store(self.seen.casts.load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_with_many_casts_lets_others_run_between_them() {
    let (local, seen) = (local(), Arc::new(Seen::default()));
    let server = Start::<Counts>::new(local.clone(), None, seen.clone()).await.unwrap();
    for _ in 0..MANY {
        server.cast(()).unwrap();
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    let other = spawn(&local, SpawnOptions::default(), |_: crate::process::Context<Term>| async move {
        let _ = tell.send(seen.casts.load(Ordering::Relaxed));
        ExitReason::Normal
    });
    assert!(other.is_some());
    let before = told.await.unwrap();
    assert!(before < MANY, "another process waited for all of the casts");
}

#[tokio::test(start_paused = true)]
async fn a_priority_message_is_handled_before_the_casts_that_wait() {
    let (local, seen) = (local(), Arc::new(Seen::default()));
    let server = Start::<Counts>::new(local.clone(), None, seen.clone()).await.unwrap();
    for _ in 0..MANY {
        server.cast(()).unwrap();
    }
    server.call(()).await.unwrap();
    assert_eq!(seen.casts.load(Ordering::Relaxed), MANY);
    let before = seen.before_the_message.load(Ordering::Relaxed);
    assert!((1..=257).contains(&before), "it came after {before} casts, and is looked for after 256");
}
