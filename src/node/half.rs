//! The half of a connection that writes.

use std::collections::VecDeque;
use std::hint::cold_path;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::world::BoxWrite;

/// Slices in one vectored write; systems take at most 1024.
const TRANSMIT_SLICES: usize = 64;

/// What writes: the socket, and what it is to take next.
pub(super) struct Half {
    write: BoxWrite,
    /// Small signals, which are all that there is, or nothing. Its memory takes turns with that of those that are queued.
    pub(super) small: Vec<u8>,
    pub(super) chunks: VecDeque<Bytes>,
    /// Whether it may keep a part of what it takes, as TLS does, until it is flushed.
    keeps: bool,
    /// Whether it may still have such a part.
    unflushed: bool,
}

impl Half {
    pub(super) fn new(write: BoxWrite, keeps: bool) -> Self {
        Self { write, small: Vec::new(), chunks: VecDeque::new(), keeps, unflushed: false }
    }

    /// Whether all that it was given is on its way.
    pub(super) fn is_done(&self) -> bool {
        self.small.is_empty() && self.chunks.is_empty() && !self.unflushed
    }

    fn advance(&mut self, mut len: usize) {
        if !self.small.is_empty() {
            self.small.drain(..len.min(self.small.len()));
            return;
        }
        while let Some(first) = self.chunks.front_mut() {
            if len < first.len() {
                cold_path();
                first.advance(len);
                return;
            }
            len -= first.len();
            self.chunks.pop_front();
        }
    }

    #[inline(always)]
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut total = 0;
        loop {
            let write = Pin::new(&mut self.write);
            let polled = if !self.small.is_empty() {
                write.poll_write(cx, &self.small)
            } else {
                cold_path();
                if self.chunks.is_empty() {
                    break;
                }
                let mut slices = [IoSlice::new(&[]); TRANSMIT_SLICES];
                let count = self.chunks.len().min(TRANSMIT_SLICES);
                for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
                    *slice = IoSlice::new(chunk);
                }
                write.poll_write_vectored(cx, &slices[..count])
            };
            match polled {
                Poll::Ready(Ok(len)) => {
                    if len == 0 {
                        cold_path();
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    total += len;
                    self.unflushed = self.keeps;
                    if len == self.small.len() {
                        // As most often.
                        self.small.clear();
                        break;
                    }
                    cold_path();
                    self.advance(len);
                }
                Poll::Ready(Err(error)) => {
                    cold_path();
                    return Poll::Ready(Err(error));
                }
                // What was written counts now; the rest is tried again with a waker that listens.
                Poll::Pending => {
                    cold_path();
                    return if total > 0 { Poll::Ready(Ok(total)) } else { Poll::Pending };
                }
            }
        }
        if self.unflushed {
            cold_path();
            match Pin::new(&mut self.write).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => {
                    cold_path();
                    return Poll::Ready(Err(error));
                }
                Poll::Pending => {
                    cold_path();
                    if total == 0 {
                        return Poll::Pending;
                    }
                }
            }
        }
        Poll::Ready(Ok(total))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::task::Waker;

    use super::*;

    /// Takes seven bytes every other time, and holds them back until it is flushed if it `keeps`.
    struct Narrow {
        keeps: bool,
        takes: bool,
        kept: Vec<u8>,
        sent: Arc<Mutex<Vec<u8>>>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.takes = !self.takes;
            if !self.takes {
                return Poll::Pending;
            }
            let len = buf.len().min(7);
            self.kept.extend_from_slice(&buf[..len]);
            if !self.keeps {
                let _ = self.as_mut().poll_flush(&mut Context::from_waker(Waker::noop()));
            }
            Poll::Ready(Ok(len))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let kept = std::mem::take(&mut self.kept);
            self.sent.lock().unwrap().extend(kept);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn all_that_it_is_given_goes_out_in_its_order_however_little_the_socket_takes() {
        for keeps in [false, true] {
            let sent = Arc::new(Mutex::new(Vec::new()));
            let narrow = Narrow { keeps, takes: false, kept: Vec::new(), sent: sent.clone() };
            let mut half = Half::new(Box::new(narrow), keeps);
            let bytes: Vec<u8> = (0..100).collect();
            let mut all = Vec::new();
            for round in 0..3 {
                // Small signals, or chunks, of which a vectored write takes from the first alone here.
                if round % 2 == 0 {
                    half.small.extend_from_slice(&bytes);
                } else {
                    half.chunks.extend(bytes.chunks(30).map(Bytes::copy_from_slice));
                }
                all.extend_from_slice(&bytes);
                let mut written = 0;
                while !half.is_done() {
                    if let Poll::Ready(len) = half.poll_write(&mut Context::from_waker(Waker::noop())) {
                        written += len.unwrap();
                    }
                }
                assert_eq!((written, &*sent.lock().unwrap()), (bytes.len(), &all), "keeps: {keeps}");
            }
        }
    }
}
