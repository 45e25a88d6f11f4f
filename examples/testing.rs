//! Testing a server that waits and tries again, on virtual time. `cargo run --example testing`
//!
//! In a crate of your own each test is a `#[tokio::test(start_paused = true)]` under `#[cfg(test)]`; here `main` runs them.

use std::time::Duration;

use beamline::prelude::*;
use beamline::testing::TestNode;

/// Fetches the price from another server at its start, and again an hour after it has it. Without an answer it tries again, each
/// time after twice as long.
struct Prices {
    price: Option<i64>,
    pause: Duration,
}

const PAUSE: Duration = Duration::from_secs(1);
const FRESH: Duration = Duration::from_secs(3600);

impl GenServer for Prices {
    type Args = ();
    type Call = Term;
    type Reply = Option<i64>;
    type Cast = Term;
    type Info = Term;

    async fn init((): (), cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        cx.continue_with(Term::atom("fetch"));
        Ok(Self { price: None, pause: PAUSE })
    }

    async fn handle_call(
        &mut self,
        _: Term,
        from: ReplyTo<Option<i64>>,
        _: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(self.price))
    }

    async fn handle_info(&mut self, _: Term, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match cx.call("market", Atom::from("price")).await {
            Ok(price) => {
                (self.price, self.pause) = (Some(price), PAUSE);
                cx.send_after(FRESH, Term::atom("fetch"));
            }
            Err(CallError::NoProc | CallError::Timeout(_)) => {
                cx.send_after(self.pause, Term::atom("fetch"));
                self.pause *= 2;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

// #[tokio::test(start_paused = true)]
async fn a_price_is_fetched_again_after_an_hour() {
    let node = TestNode::new(1).await;
    // The probe stands in for the other server.
    let mut market = node.probe();
    market.register("market").unwrap();
    let prices = Prices::start(&node, ()).await.unwrap();

    let (_, from) = market.expect_call::<Term>(Duration::ZERO).await;
    from.reply(&7);
    market.expect_none(FRESH - Duration::from_millis(1)).await;
    assert_eq!(prices.call(Term::atom("get")).await, Ok(Some(7)));
    let (_, from) = market.expect_call::<Term>(Duration::from_millis(1)).await;
    from.reply(&8);
    node.settle().await;
    assert_eq!(prices.call(Term::atom("get")).await, Ok(Some(8)));

    prices.stop(ExitReason::Shutdown).await;
    node.assert_clean().await;
    println!("a price was fetched twice in {:?} of virtual time", node.elapsed());
}

// #[tokio::test(start_paused = true)]
async fn a_market_that_comes_late_is_found_by_a_retry() {
    let node = TestNode::new(1).await;
    let prices = Prices::start(&node, ()).await.unwrap();
    node.advance(6 * PAUSE).await;
    let mut market = node.probe();
    market.register("market").unwrap();
    // It has tried after 1 and 3 seconds, and does after 7.
    market.expect_none(PAUSE - Duration::from_millis(1)).await;
    let (_, from) = market.expect_call::<Term>(Duration::from_millis(1)).await;
    from.reply(&7);
    node.settle().await;
    assert_eq!(prices.call(Term::atom("get")).await, Ok(Some(7)));
    println!("what the server got and sent:");
    for line in node.trace(prices.pid()) {
        println!("  {line}");
    }
}

// #[tokio::test(start_paused = true)]
async fn an_answer_of_another_kind_ends_the_server() {
    let node = TestNode::new(1).await;
    let mut market = node.probe();
    market.register("market").unwrap();
    let prices = Prices::start(&node, ()).await.unwrap();
    let (_, from) = market.expect_call::<Term>(PAUSE).await;
    market.monitor(prices.pid());
    from.reply(&"closed");
    let reason = market.expect_down(prices.pid(), PAUSE).await;
    println!("it ended: {reason}");
    assert!(!reason.is_orderly());
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() {
    a_price_is_fetched_again_after_an_hour().await;
    a_market_that_comes_late_is_found_by_a_retry().await;
    an_answer_of_another_kind_ends_the_server().await;
}
