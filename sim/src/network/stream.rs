//! The two halves of a simulated connection, as a program holds them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::tcp::{ConnId, Side};
use super::wires::{Half, Wires};

pub(super) struct ReadHalf {
    pub(super) wires: Arc<Wires>,
    pub(super) conn: ConnId,
    pub(super) side: Side,
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.wires.poll_read(cx, self.conn, self.side, buf)
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        self.wires.drop_half(self.conn, self.side, Half::Read);
    }
}

pub(super) struct WriteHalf {
    pub(super) wires: Arc<Wires>,
    pub(super) conn: ConnId,
    pub(super) side: Side,
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wires.poll_write(cx, self.conn, self.side, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wires.shut(self.conn, self.side);
        Poll::Ready(Ok(()))
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.wires.drop_half(self.conn, self.side, Half::Write);
    }
}
