//! ractor: links and supervision, four channels an actor.

use ::ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use crate::Actors;

pub struct Ractor;

pub struct Echo;

pub enum Message {
    Call(i64, RpcReplyPort<i64>),
    Cast(i64),
}

impl Actor for Echo {
    type Msg = Message;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Call(n, reply) => reply.send(n)?,
            Message::Cast(n) => drop(std::hint::black_box(n)),
        }
        Ok(())
    }
}

impl Actors for Ractor {
    const NAME: &'static str = "ractor";
    type Server = ActorRef<Message>;

    async fn start() -> Self::Server {
        Actor::spawn(None, Echo, ()).await.expect("it starts").0
    }

    async fn call(server: &Self::Server, n: i64) -> i64 {
        server.call(|reply| Message::Call(n, reply), None).await.expect("it is alive").expect("it replies")
    }

    async fn cast(server: &Self::Server, n: i64) {
        server.cast(Message::Cast(n)).expect("it is alive");
    }

    async fn stop(servers: Vec<Self::Server>) {
        for server in &servers {
            server.stop(None);
        }
        for server in servers {
            server.wait(None).await.expect("no timeout");
        }
    }
}
