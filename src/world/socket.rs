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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
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
    let wait = Wait(Arc::new(Waiting { socket: socket.clone(), begun: AtomicBool::new(false) }));
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

/// Waits in the system's read for what a reading half would read.
#[derive(Clone)]
pub struct Wait(Arc<Waiting>);

struct Waiting {
    socket: Arc<Socket>,
    /// Whether the reading half leaves all that comes to this.
    begun: AtomicBool,
}

impl Wait {
    /// The most that one wait brings. Messages that are as long are not worth waiting for that way.
    pub(crate) const LEN: usize = 4096;

    /// From now on the reading half has nothing.
    pub(crate) fn begin(&self, read: &mut BoxRead) {
        self.0.begun.store(true, Ordering::Release);
        // It hears of it by being asked, and gives up the driver, which would be woken by all that comes.
        let nothing =
            Pin::new(read).poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut []));
        debug_assert!(nothing.is_pending());
    }

    /// From now on it reads again.
    pub(crate) fn end(&self) {
        self.0.begun.store(false, Ordering::Release);
    }

    /// Blocks the thread until something has come, which is added to `input`, or nothing for a while. Returns how much has, and `None` if
    /// nothing; the end of what the peer sends is left to the reading half.
    ///
    /// # Errors
    /// What went wrong. The reading half does not hear of it.
    #[inline]
    pub(crate) fn for_more(&self, input: &mut BytesMut) -> io::Result<Option<usize>> {
        let room = input.spare_capacity_mut();
        let room_len = room.len().min(Self::LEN);
        match recv(&self.0.socket.0, &mut room[..room_len], RecvFlags::empty()).map(|(_, len)| len) {
            Ok(0) => Ok(None),
            Ok(len) => {
                // SAFETY: the system has written so many bytes behind those that are there.
                unsafe { input.set_len(input.len() + len) };
                Ok(Some(len))
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                cold_path();
                Ok(None)
            }
            Err(error) => {
                cold_path();
                Err(error.into())
            }
        }
    }
}

struct ReadHalf {
    /// `None` while a thread waits for it.
    driver: Option<AsyncFd<Arc<Socket>>>,
    wait: Wait,
}

impl AsyncRead for ReadHalf {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.wait.0.begun.load(Ordering::Acquire) {
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
            match recv(&driver.get_ref().0, room, RecvFlags::DONTWAIT) {
                Ok((_, len)) => {
                    // Less than there was room for is all that there was: the next read need not ask.
                    if len > 0 && len < room_len {
                        ready.clear_ready();
                    }
                    // SAFETY: the system has written so many bytes.
                    unsafe { buf.assume_init(len) };
                    buf.advance(len);
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::INTR) => cold_path(),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Poll::Ready(Err(error.into())),
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
        write: impl Fn(&StdTcpStream, SendFlags) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        // A socket that always has room must let others run, too.
        ready!(pin!(consume_budget()).poll(cx));
        loop {
            match write(&self.socket.0, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => cold_path(),
                Err(Errno::AGAIN) => {
                    cold_path();
                    ready!(self.poll_full(cx))?;
                }
                written => return Poll::Ready(written.map_err(io::Error::from)),
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
    #[hot]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_with(cx, |socket, flags| send(socket, buf, flags))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sends = |socket: &_, flags| sendmsg(socket, bufs, &mut SendAncillaryBuffer::default(), flags);
        self.get_mut().poll_with(cx, sends)
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
    async fn what_a_wait_brings_stands_between_what_the_reading_half_reads_before_and_after_it() {
        let (ours, mut theirs) = pair().await;
        let (mut read, _write, wait) = split(ours).unwrap();
        let mut word = [0; 5];
        theirs.write_all(b"first").await.unwrap();
        read.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"first");
        wait.begin(&mut read);
        let mut input = BytesMut::with_capacity(100);
        for word in [&b"second"[..], b"third"] {
            theirs.write_all(word).await.unwrap();
            assert_eq!(wait.for_more(&mut input).unwrap(), Some(word.len()));
        }
        assert_eq!(&input[..], b"secondthird");
        wait.end();
        theirs.write_all(b"fourth").await.unwrap();
        drop(theirs);
        let mut rest = Vec::new();
        read.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"fourth");
    }

    #[tokio::test]
    async fn a_wait_brings_no_more_than_there_is_room_for() {
        let (ours, mut theirs) = pair().await;
        let (mut read, _write, wait) = split(ours).unwrap();
        theirs.write_all(&[7; 10_000]).await.unwrap();
        wait.begin(&mut read);
        let mut input = BytesMut::with_capacity(3);
        let room = input.capacity();
        assert_eq!(wait.for_more(&mut input).unwrap(), Some(room));
        input.reserve(10_000);
        assert_eq!(wait.for_more(&mut input).unwrap(), Some(Wait::LEN));
        wait.end();
        let mut rest = vec![0; 10_000 - room - Wait::LEN];
        read.read_exact(&mut rest).await.unwrap();
        assert!(input.iter().chain(&rest).all(|byte| *byte == 7));
    }

    #[tokio::test]
    async fn a_wait_for_nothing_ends_and_so_does_one_for_a_peer_that_is_gone() {
        let (ours, theirs) = pair().await;
        let (mut read, _write, wait) = split(ours).unwrap();
        let mut input = BytesMut::with_capacity(100);
        wait.begin(&mut read);
        assert_eq!(wait.for_more(&mut input).unwrap(), None);
        drop(theirs);
        assert_eq!(wait.for_more(&mut input).unwrap(), None);
        wait.end();
        assert_eq!(read.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_wait_says_what_went_wrong() {
        let (ours, theirs) = pair().await;
        let (mut read, mut write, wait) = split(ours).unwrap();
        // With something unread, the system resets the connection.
        write.write_all(b"unread").await.unwrap();
        theirs.readable().await.unwrap();
        drop(theirs);
        wait.begin(&mut read);
        let waited = wait.for_more(&mut BytesMut::with_capacity(100));
        assert_eq!(waited.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
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
