//! Signals that wait, in order.
//!
//! A signal is as large as the largest, and what a burst takes is mostly moving it to memory and back. So messages that have a
//! [brief form](ProcessMessage::Brief), as casts do, wait in that one.

use std::collections::VecDeque;

use super::signal::Signal;
use super::{First, ProcessMessage};
use crate::etf::Payload;

/// What a burst may leave allocated in an idle queue.
const IDLE_SIGNALS_MAX: usize = 64;

/// So many bytes a burst may leave allocated for a [while](super::mailbox::KEPT), twice if signals arrived while others were received.
/// More goes back at once.
const KEPT_MAX: usize = 64 << 20;

/// Signals in order.
// Boxed: most processes have no two at a time, and an idle one should be small.
pub(super) struct Signals<M: ProcessMessage>(Option<Box<Lanes<M>>>);

// Aligned to cache lines: a sender writes to one while the process writes to another.
#[repr(align(64))]
struct Lanes<M: ProcessMessage> {
    /// Those in front of all that is brief, and behind them those that have a place there.
    signals: VecDeque<Signal<M>>,
    /// A `None` is the place of a signal that is not brief.
    brief: VecDeque<Option<M::Brief>>,
    /// How many of these there are.
    places: usize,
}

impl<M: ProcessMessage> Default for Signals<M> {
    fn default() -> Self {
        Self(None)
    }
}

impl<M: ProcessMessage> Default for Lanes<M> {
    fn default() -> Self {
        Self { signals: VecDeque::new(), brief: VecDeque::new(), places: 0 }
    }
}

impl<M: ProcessMessage> Lanes<M> {
    fn is_empty(&self) -> bool {
        self.signals.is_empty() && self.brief.is_empty()
    }

    #[inline]
    fn len(&self) -> usize {
        self.signals.len() - self.places + self.brief.len()
    }

    /// In bytes.
    fn capacity(&self) -> usize {
        self.signals.capacity() * size_of::<Signal<M>>()
            + self.brief.capacity() * size_of::<Option<M::Brief>>()
    }

    /// Whether the first signal is the first of `signals`.
    #[inline(always)]
    fn is_first_whole(&self) -> bool {
        self.signals.len() > self.places
    }

    /// Has all of them in `signals`. Each gets there once at most, however often this is done.
    #[hot(relations)]
    fn unfold(&mut self) {
        if self.brief.is_empty() {
            return;
        }
        let front = self.signals.len() - self.places;
        let mut placed = self.signals.split_off(front);
        self.signals.reserve(self.brief.len());
        for brief in self.brief.drain(..) {
            let signal = match brief {
                Some(brief) => Some(Signal::Message(M::from_brief(brief))),
                None => placed.pop_front(),
            };
            self.signals.extend(signal);
        }
        self.places = 0;
    }
}

#[cold]
fn make<M: ProcessMessage>() -> Box<Lanes<M>> {
    Box::default()
}

impl<M: ProcessMessage> Signals<M> {
    #[inline]
    fn lanes(&mut self) -> &mut Lanes<M> {
        self.0.get_or_insert_with(make)
    }

    /// Returns how many there are then.
    #[inline(always)]
    pub(super) fn push_back(&mut self, signal: Signal<M>) -> usize {
        match signal {
            Signal::Message(message) => match message.brief() {
                Ok(brief) => {
                    let lanes = self.lanes();
                    lanes.brief.push_back(Some(brief));
                    lanes.len()
                }
                Err(message) => self.push_whole(Signal::Message(message)),
            },
            signal => self.push_whole(signal),
        }
    }

    // Not inlined, so that those that come one at a time do not pay for it.
    #[inline(never)]
    #[hot(relations)]
    fn push_whole(&mut self, signal: Signal<M>) -> usize {
        let lanes = self.lanes();
        if !lanes.brief.is_empty() {
            lanes.brief.push_back(None);
            lanes.places += 1;
        }
        lanes.signals.push_back(signal);
        lanes.len()
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<Signal<M>> {
        let lanes = self.0.as_mut()?;
        if lanes.is_first_whole() {
            return lanes.signals.pop_front();
        }
        match lanes.brief.pop_front()? {
            Some(brief) => Some(Signal::Message(M::from_brief(brief))),
            None => {
                lanes.places -= 1;
                lanes.signals.pop_front()
            }
        }
    }

    /// The first signal, if it is a message of the process's own type.
    // Inlined, so that it is moved once.
    #[inline(always)]
    pub(super) fn pop_own(&mut self) -> Option<M> {
        let lanes = self.0.as_mut()?;
        let placed = !lanes.is_first_whole();
        if placed && let Some(brief) = lanes.brief.pop_front()? {
            return Some(M::from_brief(brief));
        }
        let is_own = matches!(lanes.signals.front(), Some(Signal::Message(_)));
        if placed {
            if !is_own {
                lanes.brief.push_front(None);
                return None;
            }
            lanes.places -= 1;
        }
        match is_own.then(|| lanes.signals.pop_front()) {
            Some(Some(Signal::Message(message))) => Some(message),
            _ => None,
        }
    }

    /// The first signal, if it is a message in its external form.
    #[inline(always)]
    pub(super) fn pop_term(&mut self) -> Option<Payload> {
        let lanes = self.0.as_mut()?;
        if !lanes.is_first_whole() || !matches!(lanes.signals.front(), Some(Signal::Term(_))) {
            return None;
        }
        match lanes.signals.pop_front() {
            Some(Signal::Term(message)) => Some(message),
            _ => None,
        }
    }

    /// What the first signal is, as far as that is seen at a glance: one behind something brief is taken for a message of the process's own
    /// type.
    #[inline(always)]
    pub(super) fn first(&self) -> First {
        let Some(lanes) = &self.0 else { return First::Nothing };
        if lanes.is_empty() {
            return First::Nothing;
        }
        if lanes.is_first_whole() && matches!(lanes.signals.front(), Some(Signal::Term(_))) {
            return First::Term;
        }
        First::Own
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|lanes| lanes.is_empty())
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |lanes| lanes.len())
    }

    /// All of them, to be looked through and changed.
    pub(super) fn get(&mut self) -> &mut VecDeque<Signal<M>> {
        let lanes = self.lanes();
        lanes.unfold();
        &mut lanes.signals
    }

    /// Whether none of them is brief.
    #[inline]
    pub(super) fn is_all_whole(&self) -> bool {
        self.0.as_ref().is_none_or(|lanes| lanes.brief.is_empty())
    }

    #[inline]
    pub(super) fn take(&mut self) -> VecDeque<Signal<M>> {
        let Some(lanes) = &mut self.0 else { return VecDeque::new() };
        lanes.unfold();
        std::mem::take(&mut lanes.signals)
    }

    /// Whether there is any memory for them.
    #[cfg(test)]
    pub(super) fn is_allocated(&self) -> bool {
        self.0.is_some()
    }

    /// How many bytes are allocated for them.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |lanes| lanes.capacity())
    }

    /// Whether a burst has left more allocated here than an idle queue may have. There is nothing in it any more.
    #[inline]
    pub(super) fn is_large(&self) -> bool {
        self.capacity() > IDLE_SIGNALS_MAX * size_of::<Signal<M>>()
    }

    /// Whether there is something in it, or memory of a burst.
    #[inline]
    pub(super) fn is_kept(&self) -> bool {
        !self.is_empty() || self.is_large()
    }

    /// Gives back what must not be kept even for a while.
    pub(super) fn limit(&mut self) {
        if self.capacity() > KEPT_MAX {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::any::Any;

    use super::*;
    use crate::etf::Payload;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Number {
        Brief(u16),
        Whole([u64; 5]),
    }

    impl ProcessMessage for Number {
        type Brief = u16;

        fn brief(self) -> Result<u16, Self> {
            match self {
                Self::Brief(number) => Ok(number),
                Self::Whole(_) => Err(self),
            }
        }

        fn from_brief(number: u16) -> Self {
            Self::Brief(number)
        }

        fn take(_: &mut dyn Any) -> Option<Self> {
            None
        }
    }

    /// Three kinds of signals: `None` is a term.
    fn signal(number: Option<Number>) -> Signal<Number> {
        number.map_or_else(|| Signal::Term(Payload::none()), Signal::Message)
    }

    fn number(signal: &Signal<Number>) -> Option<Number> {
        match signal {
            Signal::Message(number) => Some(*number),
            _ => None,
        }
    }

    #[test]
    fn signals_of_all_forms_keep_their_order_whatever_is_done_in_between() {
        let mut signals = Signals::default();
        let mut model = VecDeque::new();
        let mut random = 1_u32;
        for step in 0..20_000 {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            // It grows, and is emptied now and then.
            match random % 64 {
                0..35 => {
                    let number = match random / 64 % 4 {
                        0 => None,
                        1 => Some(Number::Whole([step; 5])),
                        _ => Some(Number::Brief(step as u16)),
                    };
                    model.push_back(number);
                    assert_eq!(signals.push_back(signal(number)), model.len());
                }
                35..48 => assert_eq!(signals.pop_front().as_ref().map(number), model.pop_front()),
                48..61 => {
                    let own = model.front().copied().flatten();
                    assert_eq!(signals.pop_own(), own);
                    if own.is_some() {
                        model.pop_front();
                    }
                }
                61 => {
                    assert!(signals.get().iter().map(number).eq(model.iter().copied()));
                }
                62 => {
                    // As those do who apply relations: some go, and some come to the front.
                    let at = random as usize / 64 % (model.len() + 1);
                    signals.get().rotate_left(at);
                    model.rotate_left(at);
                    assert_eq!(signals.get().pop_back().as_ref().map(number), model.pop_back());
                }
                _ => {
                    if (random / 64).is_multiple_of(16) {
                        assert!(signals.take().iter().map(number).eq(model.drain(..)));
                    }
                }
            }
            assert_eq!((signals.len(), signals.is_empty()), (model.len(), model.is_empty()));
            match (signals.first(), model.front()) {
                (First::Nothing, None) | (First::Own, Some(_)) => {}
                (First::Term, Some(None)) => {
                    assert!(signals.pop_term().is_some());
                    model.pop_front();
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_brief_waits_in_little_memory() {
        let mut signals = Signals::default();
        for n in 0..1024 {
            signals.push_back(signal(Some(Number::Brief(n))));
        }
        assert_eq!(signals.capacity(), 1024 * size_of::<Option<u16>>());
        assert!(signals.is_large());
    }
}
