//! `#[derive(Protocol)]` as a user meets it: one enum of calls, and callers that get each call's own reply.
#![allow(missing_docs)]

mod common;

use std::time::Duration;

use beamline::Protocol;
use beamline::gen_server::{Context, GenServer, Reply, ReplyTo, Server, ServerRef};
use beamline::node::Node;
use beamline::process::ExitReason;
use beamline::term::Term;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, Protocol)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// What it counts to.
    #[reply(i64)]
    Get,
    #[reply(i64)]
    Add(i64),
    #[reply(Result<f64, Refusal>)]
    Window { secs: u32 },
    #[reply(())]
    Type(String, Option<bool>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    Empty,
}

struct Counter(i64);

impl GenServer for Counter {
    type Args = i64;
    type Call = Ask;
    type Reply = AskReply;
    type Cast = Term;
    type Info = Term;

    async fn init(start: i64, _: &mut Context<Self>) -> Result<Self, ExitReason> {
        Ok(Self(start))
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<AskReply>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(match ask {
            Ask::Get => AskReply::Get(self.0),
            Ask::Add(n) => {
                self.0 += n;
                AskReply::Add(self.0)
            }
            Ask::Window { secs: 0 } => AskReply::Window(Err(Refusal::Empty)),
            Ask::Window { secs } => AskReply::Window(Ok(f64::from(secs) / 2.0)),
            Ask::Type(..) => AskReply::Type(()),
        }))
    }
}

async fn node() -> Node {
    let port = common::free_port();
    Node::builder("protocol@127.0.0.1").listen("127.0.0.1", 0).epmd_port(port).start().await.unwrap()
}

/// What any handle to a server of the protocol can do.
async fn exercise(counter: &impl AskClient) {
    let sum: i64 = counter.add(5).await.unwrap();
    assert_eq!(sum, 12);
    assert_eq!(counter.get().timeout(Duration::from_secs(10)).await.unwrap(), 12);
    assert_eq!(counter.window(60).await.unwrap(), Ok(30.0));
    assert_eq!(counter.window(0).await.unwrap(), Err(Refusal::Empty));
    // A keyword, and replies of nothing.
    let () = counter.r#type("any".to_owned(), None).await.unwrap();
}

#[tokio::test]
async fn a_local_server_is_called_by_methods_with_replies_of_their_own_types() {
    let node = node().await;
    let counter: Server<Counter> = Counter::start(&node, 7).await.unwrap();
    exercise(&counter).await;
    node.stop().await;
}

#[tokio::test]
async fn a_server_known_by_its_name_alone_is_called_by_the_same_methods() {
    let node = node().await;
    Counter::start(&node, 7).name("counter").await.unwrap();
    let counter: ServerRef<Ask> = node.server("counter");
    exercise(&counter).await;
    node.stop().await;
}

#[test]
fn a_reply_is_encoded_as_its_value_alone() {
    let value = beamline::etf::to_term(&AskReply::Window(Err(Refusal::Empty))).unwrap();
    assert_eq!(value.to_string(), "{error,empty}");
    assert_eq!(beamline::etf::to_term(&AskReply::Add(12)).unwrap().to_string(), "12");
    assert_eq!(beamline::etf::to_term(&AskReply::Type(())).unwrap().to_string(), "ok");
}
