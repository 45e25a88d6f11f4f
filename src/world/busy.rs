//! Sockets whose readers look again before they wait.
//!
//! A thread that waits for the system to tell of data costs tens of microseconds to wake. A reader that asks the socket itself, again
//! and again, has its data at once, at the price of a busy core. Meanwhile the socket is unknown to the runtime's driver: otherwise all
//! that arrives would wake a thread all the same, only to find it taken.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this is where the real world enters"
)]

use std::future::Future;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream as Socket};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::{consume_budget, yield_now};
use tokio::time::Instant;

use super::{BoxRead, BoxWrite};

/// What is read at once: into a buffer of the reader, as what is asked so often must not cost a cleared buffer each time.
const READ_LEN: usize = 64 << 10;

/// For so long a reader looks again without giving up its turn, for which the runtime would wake another of its threads.
const SPIN: Duration = Duration::from_micros(20);

/// Two halves of a connection whose reader looks again for as long as `within` after something was read or written.
pub(super) fn split(stream: TcpStream, within: Duration) -> io::Result<(BoxRead, BoxWrite)> {
    // The runtime forgets it.
    let shared = Arc::new(Shared { socket: stream.into_std()?, written: AtomicBool::new(false) });
    let (shared_read, buffer) = (shared.clone(), vec![0; READ_LEN].into());
    let read = ReadHalf { shared: shared_read, within, active: None, waits: None, buffer };
    Ok((Box::new(read), Box::new(WriteHalf { shared, waits: None })))
}

struct Shared {
    socket: Socket,
    /// Whether something was written since the reader looked. That, and not the time, is noted by who writes, whose peer waits.
    written: AtomicBool,
}

impl Shared {
    /// The socket, as the runtime's driver knows it until this is dropped.
    fn register(&self) -> io::Result<TcpStream> {
        TcpStream::from_std(self.socket.try_clone()?)
    }
}

struct ReadHalf {
    shared: Arc<Shared>,
    within: Duration,
    /// When the reader first found nothing after something was read or written. `None` while there is something.
    active: Option<Instant>,
    /// While the reader waits for the driver.
    waits: Option<TcpStream>,
    buffer: Box<[u8]>,
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A socket that always has something must let others run, too.
        ready!(pin!(consume_budget()).poll(cx));
        let mut begun = None;
        loop {
            let room = buf.remaining().min(READ_LEN);
            match (&this.shared.socket).read(&mut this.buffer[..room]) {
                Ok(len) => {
                    (this.waits, this.active) = (None, None);
                    buf.put_slice(&this.buffer[..len]);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let now = Instant::now();
                    if this.shared.written.load(Ordering::Relaxed) {
                        this.shared.written.store(false, Ordering::Relaxed);
                        this.active = None;
                    }
                    let active = *this.active.get_or_insert(now);
                    if this.waits.is_none() && now - active < this.within {
                        if now - *begun.get_or_insert(now) < SPIN {
                            std::hint::spin_loop();
                            continue;
                        }
                        // The task comes to its turn again once the thread has nothing else to do.
                        let _ = pin!(yield_now()).poll(cx);
                        return Poll::Pending;
                    }
                    let waits = match this.waits.take() {
                        Some(waits) => waits,
                        None => this.shared.register()?,
                    };
                    let waits = this.waits.insert(waits);
                    ready!(waits.poll_read_ready(cx))?;
                    // It may be ready from before: this clears that.
                    match waits.try_read(&mut this.buffer[..room]) {
                        Ok(len) => {
                            (this.waits, this.active) = (None, None);
                            buf.put_slice(&this.buffer[..len]);
                            return Poll::Ready(Ok(()));
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

struct WriteHalf {
    shared: Arc<Shared>,
    /// While the writer waits for the driver, because the socket is full.
    waits: Option<TcpStream>,
}

impl WriteHalf {
    fn poll_with(
        &mut self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match write(&self.shared.socket) {
                Ok(len) => {
                    self.waits = None;
                    self.shared.written.store(true, Ordering::Relaxed);
                    return Poll::Ready(Ok(len));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let waits = match self.waits.take() {
                        Some(waits) => waits,
                        None => self.shared.register()?,
                    };
                    let waits = self.waits.insert(waits);
                    ready!(waits.poll_write_ready(cx))?;
                    // It may be ready from before: this clears that.
                    match waits.try_io(tokio::io::Interest::WRITABLE, || write(&self.shared.socket)) {
                        Ok(len) => {
                            self.waits = None;
                            self.shared.written.store(true, Ordering::Relaxed);
                            return Poll::Ready(Ok(len));
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_with(cx, |mut socket| socket.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_with(cx, |mut socket| socket.write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shared.socket.shutdown(Shutdown::Write))
    }
}

impl Drop for WriteHalf {
    /// As tokio's own half: the peer learns that no more comes.
    fn drop(&mut self) {
        let _ = self.shared.socket.shutdown(Shutdown::Write);
    }
}
