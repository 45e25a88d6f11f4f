//! kameo: links and supervision, tokio's channels.

use ::kameo::actor::{ActorRef, Spawn};
use ::kameo::mailbox;
use ::kameo::message::{Context, Message};

use crate::Actors;

pub struct Kameo;

#[derive(::kameo::Actor)]
pub struct Echo;

struct Call(i64);
struct Cast(i64);

impl Message<Call> for Echo {
    type Reply = i64;

    async fn handle(&mut self, Call(n): Call, _: &mut Context<Self, i64>) -> i64 {
        n
    }
}

impl Message<Cast> for Echo {
    type Reply = ();

    async fn handle(&mut self, Cast(n): Cast, _: &mut Context<Self, ()>) {
        std::hint::black_box(n);
    }
}

impl Actors for Kameo {
    const NAME: &'static str = "kameo";
    type Server = ActorRef<Echo>;

    async fn start() -> Self::Server {
        let server = Echo::spawn_with_mailbox(Echo, mailbox::unbounded());
        server.wait_for_startup().await;
        server
    }

    async fn call(server: &Self::Server, n: i64) -> i64 {
        server.ask(Call(n)).await.expect("it is alive")
    }

    async fn cast(server: &Self::Server, n: i64) {
        server.tell(Cast(n)).await.expect("it is alive");
    }

    async fn stop(servers: Vec<Self::Server>) {
        for server in &servers {
            server.stop_gracefully().await.expect("it is alive");
        }
        for server in servers {
            server.wait_for_shutdown().await;
        }
    }
}
