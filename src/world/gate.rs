//! The gate that every spawned task passes: in production there is none.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Decides when the tasks of a simulated node may run.
#[derive(Debug, Default)]
pub struct Gate {}

/// A task behind a gate. Only simulated nodes have one, so the box costs production nothing.
pub(super) struct Gated<F> {
    _gate: Arc<Gate>,
    future: Pin<Box<F>>,
}

impl<F> Gated<F> {
    pub(super) fn new(gate: Arc<Gate>, future: F) -> Self {
        Self { _gate: gate, future: Box::pin(future) }
    }
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.future.as_mut().poll(cx)
    }
}
