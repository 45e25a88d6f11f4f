//! The reader's task of a connection.

use std::future::{Future, poll_fn};
use std::hint::cold_path;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::task::yield_now;
use tokio::time::Sleep;

use super::connection::Connection;
use super::router::Incoming;
use super::{DisconnectReason, Inner};
use crate::dist::channel::{ChannelError, Next, Receiver};
use crate::dist::{Control, Tick, Ticker};
use crate::process::Spares;
use crate::world::{BoxRead, Mono, Wait};

/// A connection without ticks gives up what memory it keeps for more to come as often as one with the usual ticks.
const RELAX: Duration = Duration::from_secs(15);
/// Room for what comes. All messages of one buffer keep it, so it is not made anew while there is some left.
/// A first fragment fits.
const READ_CAPACITY: usize = 68 << 10;
const READ_CAPACITY_MIN: usize = 4 << 10;
/// After so much without a wait the thread looks at its sockets and runs who waits, if more is there to be read.
const TURN_BYTES: usize = 1 << 20;

/// How much a reader has read since it last waited or gave up its turn.
#[derive(Default)]
struct Turn(usize);

impl Turn {
    /// So much more has come. Returns whether the turn was over before it: only now, or else a message as long as a turn would end with
    /// a turn given up for nothing.
    fn is_over_before(&mut self, len: usize) -> bool {
        let over = self.0 >= TURN_BYTES;
        self.0 = if over { len } else { self.0 + len };
        over
    }

    /// There was nothing to read.
    fn waits(&mut self) {
        self.0 = 0;
    }
}

/// What a connection is read with.
pub(super) struct Reader {
    pub(super) read: BoxRead,
    input: BytesMut,
    receiver: Receiver,
    ticker: Option<Ticker>,
    incoming: Incoming,
}

impl Reader {
    /// `input` is what was read before.
    pub(super) fn new(
        inner: &Inner,
        connection: &Connection,
        read: BoxRead,
        input: BytesMut,
        ticker: Option<Ticker>,
    ) -> Self {
        let receiver = Receiver::new(connection.peer.clone(), connection.flags, inner.options.channel);
        Self { read, input, receiver, ticker, incoming: Incoming::default() }
    }

    /// Has room in its input for what comes.
    #[inline]
    fn make_room(&mut self) {
        let wants = self.receiver.wants(&self.input);
        if self.input.capacity() - self.input.len() < wants.max(READ_CAPACITY_MIN) {
            cold_path();
            self.input.reserve(wants.max(READ_CAPACITY));
        }
    }

    /// Waits for what comes, as [`Wait::for_more`] does.
    #[inline]
    pub(super) fn wait_for_more(&mut self, wait: &Wait) -> io::Result<Option<usize>> {
        self.make_room();
        Self::reclaim(&mut self.input);
        wait.for_more(&mut self.input)
    }

    /// When the connection is to be looked after, at the latest.
    pub(super) fn due(&self, now: Mono) -> Mono {
        self.ticker.as_ref().map_or(now + RELAX, Ticker::next)
    }

    /// Puts what comes next to where the last was, once that is handled: one that reads little touches little of it.
    #[inline]
    fn reclaim(input: &mut BytesMut) {
        if input.is_empty() {
            let _ = input.try_reclaim(READ_CAPACITY);
        }
    }
}

impl Connection {
    /// Reads and delivers signals, and keeps the connection alive, until it is closed. Returns why it was, or `None` after so many messages
    /// that came alone if they are given, with nothing more to read.
    pub(super) async fn read(
        self: &Arc<Self>,
        inner: &Inner,
        reader: &mut Reader,
        lone_messages: Option<u32>,
    ) -> Option<DisconnectReason> {
        let world = &inner.local.world;
        let guest = if inner.options.busy_poll.is_zero() { None } else { inner.local.guest() };
        let until_due = |reader: &Reader| {
            let now = world.clock.mono();
            world.sleep(reader.due(now).since(now))
        };
        // One timer from tick to tick: a read costs none.
        let mut sleep = pin!(until_due(reader));
        let (mut registered, mut turn, mut spares) = (None, Turn::default(), Spares::default());
        let is_lone = || lone_messages.is_some_and(|messages| self.lone_messages() >= messages);
        loop {
            let received = match &guest {
                Some(guest) => {
                    self.lead(&inner.local, &mut spares);
                    guest.turn(&mut spares, || self.receive(inner, reader))
                }
                None => self.receive(inner, reader),
            };
            if let Err(error) = received {
                cold_path();
                return Some(DisconnectReason::Protocol(error));
            }
            if guest.is_some() && self.is_handed_over() {
                // The writer's task is on this thread.
                yield_now().await;
            }
            if let Some(reason) = self.closed() {
                cold_path();
                return Some(reason);
            }
            let Reader { read, input, receiver, .. } = reader;
            let woken = if let Some((payload, len)) = receiver.direct() {
                cold_path();
                let mut place = payload.limit(len);
                let read = poll_fn(|cx| {
                    self.poll_read(read, &mut place, sleep.as_mut(), &mut registered, &mut turn, cx)
                })
                .await;
                if let Some(Ok(len)) = read {
                    receiver.read(len, input);
                }
                read
            } else {
                reader.make_room();
                let Reader { read, input, .. } = reader;
                poll_fn(|cx| {
                    Reader::reclaim(input);
                    match self.poll_read(read, input, sleep.as_mut(), &mut registered, &mut turn, cx) {
                        Poll::Pending if is_lone() => Poll::Ready(None),
                        polled => polled,
                    }
                })
                .await
            };
            match woken {
                Some(Ok(0)) => {
                    cold_path();
                    return Some(DisconnectReason::Closed);
                }
                Some(Ok(len)) => {
                    self.note_received(len);
                    if len >= Wait::LEN {
                        cold_path();
                        self.forget_lone_messages();
                    }
                    if turn.is_over_before(len) {
                        cold_path();
                        yield_now().await;
                    }
                }
                Some(Err(error)) => {
                    cold_path();
                    return Some(error.into());
                }
                None if sleep.is_elapsed() => {
                    cold_path();
                    if let Some(ticker) = &mut reader.ticker
                        && self.tick(ticker) == Tick::Dead
                        && !world.planted("half-open-kept")
                    {
                        return Some(DisconnectReason::NetTickTimeout);
                    }
                    reader.receiver.relax();
                    self.relax();
                    sleep.set(until_due(reader));
                    registered = None;
                }
                None if is_lone() => return None,
                None => {}
            }
        }
    }

    /// Delivers all signals that have come as a whole.
    #[inline]
    #[hot]
    pub(super) fn receive(&self, inner: &Inner, reader: &mut Reader) -> Result<(), ChannelError> {
        let received = self.receive_each(inner, reader);
        // Also before an error: they have come.
        inner.deliver(&mut reader.incoming);
        received
    }

    #[inline]
    fn receive_each(&self, inner: &Inner, reader: &mut Reader) -> Result<(), ChannelError> {
        let Reader { receiver, input, incoming, .. } = reader;
        let mut messages = 0;
        loop {
            match receiver.receive_next(input)? {
                Next::Signal => {
                    if let Some(Control::Send { .. }) = receiver.signal() {
                        messages += 1;
                        // Before it is delivered: the answer may come at once.
                        self.note_message(messages > 1 || !input.is_empty());
                    }
                    let (again, more) = (receiver.is_again(), !input.is_empty());
                    inner.receive(self, receiver.signal(), again, more, incoming);
                    if !more {
                        return Ok(());
                    }
                }
                Next::Tick => cold_path(),
                Next::Fragment | Next::Incomplete => {
                    if inner.local.world.planted("whole-frames") {
                        cold_path();
                        input.clear();
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Reads, unless the connection is closed or it is time for a tick: `None` then. Those two are waited for once, not once a read.
    fn poll_read(
        &self,
        read: &mut BoxRead,
        input: &mut impl BufMut,
        sleep: Pin<&mut Sleep>,
        registered: &mut Option<Waker>,
        turn: &mut Turn,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<usize>>> {
        if sleep.is_elapsed() || self.closed().is_some() {
            cold_path();
            return Poll::Ready(None);
        }
        if let Poll::Ready(read) = pin!(read.read_buf(input)).poll(cx) {
            return Poll::Ready(Some(read));
        }
        turn.waits();
        // Out of budget, a timer is not waited for by being polled; the task is polled again at once then.
        let waits = tokio::task::coop::has_budget_remaining();
        if waits && registered.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            cold_path();
            if sleep.poll(cx).is_ready() || self.wake_reader_with(cx.waker()) {
                return Poll::Ready(None);
            }
            *registered = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::{TURN_BYTES, Turn};

    #[test]
    fn a_turn_ends_when_there_is_more_to_read_than_it_takes() {
        let mut turn = Turn::default();
        assert!(!turn.is_over_before(TURN_BYTES), "a message as long as a turn is read without a pause");
        turn.waits();
        assert!(!turn.is_over_before(1), "what comes after a wait begins a turn");
        assert!(!turn.is_over_before(TURN_BYTES));
        assert!(turn.is_over_before(1), "a reader that never waits lets others run");
        assert!(!turn.is_over_before(1), "and then has a new turn");
    }
}
