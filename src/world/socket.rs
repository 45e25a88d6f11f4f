//! Sockets whose reader can also wait in the system's read, on a thread of its own, instead of being woken by the runtime's driver.
//!
//! A round trip takes three system calls at each end by way of the driver, and two without it: a read that waits, and a write. For that the
//! descriptor itself waits, and every operation that must not says so.
//!
//! Source: recv(2) and send(2), `MSG_DONTWAIT`; socket(7), `SO_RCVTIMEO`.
#![expect(
    clippy::disallowed_types,
    unsafe_code,
    reason = "this is where the real world enters, and the buffer that it reads into is not cleared first"
)]

use std::future::Future;
use std::hint::cold_path;
use std::io::{self, IoSlice};
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::consume_budget;

use super::{BoxRead, BoxWrite};

/// For so long it waits.
const WAIT: Duration = Duration::from_millis(5);

/// Two halves of a connection, and the way to wait for what the first one reads.
pub(super) fn split(stream: TcpStream) -> io::Result<(BoxRead, BoxWrite, Wait)> {
    // The runtime forgets it.
    let socket = stream.into_std()?;
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(WAIT))?;
    let socket = Arc::new(Socket(socket));
    let wait = Wait(Arc::new(Waiting {
        socket: socket.clone(),
        begun: AtomicBool::new(false),
        arrived: Mutex::default(),
        is_left: AtomicBool::new(false),
    }));
    let read = ReadHalf { driver: Some(register(socket.clone(), Interest::READABLE)?), wait: wait.clone() };
    Ok((Box::new(read), Box::new(WriteHalf { socket, driver: None }), wait))
}

/// Makes a socket known to the runtime's driver.
fn register<T: AsRawFd>(socket: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: what is registered owns the descriptor, or a share of it, and nothing else closes that.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}

struct Socket(StdTcpStream);

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Waits in the system's read for what a reading half reads, and has it ready for that.
#[derive(Clone)]
pub struct Wait(Arc<Waiting>);

struct Waiting {
    socket: Arc<Socket>,
    /// Whether the reading half has what this brings, and nothing else.
    begun: AtomicBool,
    arrived: Mutex<Arrived>,
    /// Whether something of that may be left.
    is_left: AtomicBool,
}

#[derive(Default)]
struct Arrived {
    bytes: Vec<u8>,
    error: Option<io::Error>,
}

impl Wait {
    /// The most that one wait brings. Messages that are as long are not worth waiting for that way.
    pub(crate) const LEN: usize = 4096;

    /// From now on the reading half has what [`Wait::for_more`] brings.
    pub(crate) fn begin(&self) {
        self.0.begun.store(true, Ordering::Release);
    }

    /// From now on it reads by itself, after what is left.
    pub(crate) fn end(&self) {
        self.0.begun.store(false, Ordering::Release);
    }

    /// Blocks the thread until something has come, or nothing for a while. Returns how much has, and `None` if nothing; the end of what the
    /// peer sends is left to the reading half, which also has what went wrong. What is in the buffer, which is for the next wait, is lost.
    pub(crate) fn for_more(&self, buffer: &mut Vec<u8>) -> Option<usize> {
        buffer.clear();
        buffer.reserve(Self::LEN);
        let read = SockRef::from(&self.0.socket.0).recv(&mut buffer.spare_capacity_mut()[..Self::LEN]);
        let mut error = None;
        let len = match read {
            Ok(0) => return None,
            Ok(len) => len,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return None;
            }
            Err(wrong) => {
                error = Some(wrong);
                0
            }
        };
        // SAFETY: the system has written so many bytes.
        unsafe { buffer.set_len(len) };
        let mut arrived = self.arrived();
        arrived.error = error.or(arrived.error.take());
        if arrived.bytes.is_empty() {
            std::mem::swap(&mut arrived.bytes, buffer);
        } else {
            cold_path();
            arrived.bytes.extend_from_slice(buffer);
        }
        self.0.is_left.store(true, Ordering::Release);
        Some(len)
    }

    fn arrived(&self) -> MutexGuard<'_, Arrived> {
        self.0.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ReadHalf {
    /// `None` while a thread waits for it.
    driver: Option<AsyncFd<Arc<Socket>>>,
    wait: Wait,
}

impl ReadHalf {
    /// Takes what a wait has brought.
    fn take(&self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let mut arrived = self.wait.arrived();
        if let Some(error) = arrived.error.take() {
            return Err(error);
        }
        let len = arrived.bytes.len().min(buf.remaining());
        buf.put_slice(&arrived.bytes[..len]);
        arrived.bytes.drain(..len);
        self.wait.0.is_left.store(!arrived.bytes.is_empty(), Ordering::Release);
        Ok(())
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.wait.0.is_left.load(Ordering::Acquire) {
            return Poll::Ready(this.take(buf));
        }
        if this.wait.0.begun.load(Ordering::Acquire) {
            // Or all that comes would wake the driver all the same.
            this.driver = None;
            return Poll::Pending;
        }
        let driver = match &mut this.driver {
            Some(driver) => driver,
            None => {
                cold_path();
                let socket = this.wait.0.socket.clone();
                this.driver.insert(register(socket, Interest::READABLE)?)
            }
        };
        loop {
            let mut ready = ready!(driver.poll_read_ready(cx))?;
            // SAFETY: nothing is taken out of it, and the system only writes there.
            let room = unsafe { buf.unfilled_mut() };
            let room_len = room.len();
            match SockRef::from(&driver.get_ref().0).recv_with_flags(room, libc::MSG_DONTWAIT) {
                Ok(len) => {
                    // Less than there was room for is all that there was: the next read need not ask.
                    if len > 0 && len < room_len {
                        ready.clear_ready();
                    }
                    // SAFETY: the system has written so many bytes.
                    unsafe { buf.assume_init(len) };
                    buf.advance(len);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => cold_path(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

struct WriteHalf {
    socket: Arc<Socket>,
    /// Once the socket was full: by another descriptor, as the driver knows the reading half by this one.
    driver: Option<AsyncFd<Socket>>,
}

impl WriteHalf {
    fn poll_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&SockRef<'_>, i32) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        // A socket that always has room must let others run, too.
        ready!(pin!(consume_budget()).poll(cx));
        loop {
            match write(&SockRef::from(&self.socket.0), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => cold_path(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    cold_path();
                    ready!(self.poll_full(cx))?;
                }
                written => return Poll::Ready(written),
            }
        }
    }

    /// The socket was full: waits for room.
    #[inline(never)]
    fn poll_full(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let driver = match &mut self.driver {
            Some(driver) => driver,
            None => {
                let again = Socket(self.socket.0.try_clone()?);
                self.driver.insert(register(again, Interest::WRITABLE)?)
            }
        };
        // It may be ready from before: then it was found full since.
        ready!(driver.poll_write_ready(cx))?.clear_ready();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_with(cx, |socket, flags| socket.send_with_flags(buf, flags))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_with(cx, |socket, flags| socket.send_vectored_with_flags(bufs, flags))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.0.shutdown(Shutdown::Write))
    }
}

impl Drop for WriteHalf {
    /// As tokio's own half: the peer learns that no more comes.
    fn drop(&mut self) {
        let _ = self.socket.0.shutdown(Shutdown::Write);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (stream, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn what_a_wait_has_brought_is_read_before_what_came_after_it() {
        let (ours, mut theirs) = pair().await;
        let (mut read, _write, wait) = split(ours).unwrap();
        let mut word = [0; 5];
        theirs.write_all(b"first").await.unwrap();
        read.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"first");
        wait.begin();
        theirs.write_all(b"secondthird").await.unwrap();
        assert_eq!(wait.for_more(&mut Vec::new()), Some(11));
        // Less than it has brought.
        read.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"secon");
        theirs.write_all(b"more").await.unwrap();
        assert_eq!(wait.for_more(&mut Vec::new()), Some(4));
        wait.end();
        theirs.write_all(b"fourth").await.unwrap();
        drop(theirs);
        let mut rest = Vec::new();
        read.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"dthirdmorefourth");
    }

    #[tokio::test]
    async fn a_wait_for_nothing_ends_and_so_does_one_for_a_peer_that_is_gone() {
        let (ours, theirs) = pair().await;
        let (mut read, _write, wait) = split(ours).unwrap();
        wait.begin();
        assert_eq!(wait.for_more(&mut Vec::new()), None);
        drop(theirs);
        assert_eq!(wait.for_more(&mut Vec::new()), None);
        wait.end();
        assert_eq!(read.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_went_wrong_while_it_waited_is_what_the_reading_half_says() {
        let (ours, theirs) = pair().await;
        let (mut read, mut write, wait) = split(ours).unwrap();
        // With something unread, the system resets the connection.
        write.write_all(b"unread").await.unwrap();
        theirs.readable().await.unwrap();
        drop(theirs);
        wait.begin();
        assert_eq!(wait.for_more(&mut Vec::new()), Some(0));
        wait.end();
        let said = read.read(&mut [0]).await;
        assert_eq!(said.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
    }

    #[tokio::test]
    async fn a_full_socket_takes_the_rest_once_it_is_read() {
        const LEN: usize = 20 << 20;
        let (ours, mut theirs) = pair().await;
        let (_read, mut write, _wait) = split(ours).unwrap();
        let bytes = vec![7; LEN];
        let writes = async move {
            write.write_all(&bytes).await.unwrap();
            drop(write);
        };
        let mut all = Vec::new();
        let (_, read) = tokio::join!(writes, theirs.read_to_end(&mut all));
        read.unwrap();
        assert!(all.len() == LEN && all.iter().all(|byte| *byte == 7));
    }
}
