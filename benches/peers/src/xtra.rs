//! xtra: a mailbox of its own, no links or monitors.

use ::xtra::prelude::*;

use crate::Actors;

pub struct Xtra;

#[derive(::xtra::Actor)]
pub struct Echo;

struct Call(i64);
struct Cast(i64);

impl Handler<Call> for Echo {
    type Return = i64;

    async fn handle(&mut self, Call(n): Call, _: &mut Context<Self>) -> i64 {
        n
    }
}

impl Handler<Cast> for Echo {
    type Return = ();

    async fn handle(&mut self, Cast(n): Cast, _: &mut Context<Self>) {
        std::hint::black_box(n);
    }
}

impl Actors for Xtra {
    const NAME: &'static str = "xtra";
    type Server = Address<Echo>;

    async fn start() -> Self::Server {
        ::xtra::spawn_tokio(Echo, Mailbox::unbounded())
    }

    async fn call(server: &Self::Server, n: i64) -> i64 {
        server.send(Call(n)).await.expect("it is alive")
    }

    async fn cast(server: &Self::Server, n: i64) {
        drop(server.send(Cast(n)).detach().await.expect("it is alive"));
    }

    async fn stop(servers: Vec<Self::Server>) {
        // It stops when its last address is gone.
        let ends: Vec<_> = servers.iter().map(Address::join).collect();
        drop(servers);
        for end in ends {
            end.await;
        }
    }
}
