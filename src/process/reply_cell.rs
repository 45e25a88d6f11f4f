//! A place for one value that a process or task waits for: a reply, or the outcome of a start.
//!
//! A one-shot channel that takes nothing of the budget which the runtime gives a task: who waits here is let on by one message, and
//! processes share their scheduler's budget.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The side that gives the value. Dropped without, who waits is told so.
pub(crate) struct Giver<T>(oneshot::Sender<T>);

/// The side that waits for the value.
pub(crate) struct Taker<T>(oneshot::Receiver<T>);

/// No value will come.
#[derive(Debug)]
pub(crate) struct Dropped;

pub(crate) fn reply_cell<T>() -> (Giver<T>, Taker<T>) {
    let (giver, taker) = oneshot::channel();
    (Giver(giver), Taker(taker))
}

impl<T> Giver<T> {
    /// Gives the value; it is dropped if nobody waits any more.
    pub(crate) fn give(self, value: T) {
        let _ = self.0.send(value);
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }
}

impl<T> Future for Taker<T> {
    type Output = Result<T, Dropped>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| Dropped)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_value_reaches_who_waits_and_an_end_without_one_too() {
        let (giver, taker) = reply_cell();
        let waits = async { taker.await.map_err(|Dropped| "dropped") };
        let gives = async {
            tokio::task::yield_now().await;
            giver.give(7);
        };
        assert_eq!(tokio::join!(waits, gives).0, Ok(7));

        let (giver, taker) = reply_cell::<i32>();
        let waits = async { taker.await.is_err() };
        let drops = async {
            tokio::task::yield_now().await;
            drop(giver);
        };
        assert!(tokio::join!(waits, drops).0);

        let (giver, taker) = reply_cell();
        giver.give(8);
        assert_eq!(taker.await.ok(), Some(8), "given before anybody waited");
    }

    #[test]
    fn a_giver_learns_that_nobody_waits_and_its_value_is_dropped() {
        let (giver, taker) = reply_cell();
        assert!(!giver.is_abandoned());
        drop(taker);
        assert!(giver.is_abandoned());
        let value = Arc::new(());
        giver.give(value.clone());
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
