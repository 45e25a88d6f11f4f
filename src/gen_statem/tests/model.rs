//! The core against gen_statem's rules as its manual has them, told in another way: one list of all events that were received and not
//! consumed, with a mark before the next one. What stands before the mark is postponed; a change of state puts the mark back to the beginning.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::gen_statem::core::{Action, Bad, Command, Core, CoreEvent, Set, To};
use crate::gen_statem::{Time, Timeout};
use crate::term::Term;
use crate::world::Mono;

const LISTS: u64 = 20_000;
/// A list that leads nowhere ends after so many callbacks.
const CALLBACKS: usize = 60;

/// What is to be done with an event, and in the state enter calls that follow.
#[derive(Debug, PartialEq)]
struct Script {
    id: u32,
    to: To<u8>,
    acts: Vec<Act>,
    enters: Vec<(To<u8>, Vec<Act>)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Act {
    Postpone,
    Insert(Rc<Script>),
    Start(usize, Time, Rc<Script>),
    Update(usize, Rc<Script>),
    Cancel(usize),
}

#[derive(Debug, Clone, PartialEq)]
enum Event {
    Enter(u8),
    Received(Rc<Script>),
    Inserted(Rc<Script>),
    Timeout(usize, Rc<Script>),
}

#[derive(Debug)]
enum Step {
    Receive(Rc<Script>),
    /// Milliseconds pass.
    Wait(u64),
}

/// The timeouts, by number: the event's, the state's, and two with names.
fn timeout(number: usize) -> Timeout {
    match number {
        0 => Timeout::Event,
        1 => Timeout::State,
        number => Timeout::named(i64::try_from(number).unwrap()),
    }
}

fn number(of: &Timeout) -> usize {
    match of {
        Timeout::Event => 0,
        Timeout::State => 1,
        Timeout::Named(name) => usize::try_from(Term::as_integer(name).unwrap()).unwrap(),
    }
}

impl CoreEvent<u8, Rc<Script>> for Event {
    fn enter(old: u8) -> Self {
        Self::Enter(old)
    }

    fn timeout(timeout: Timeout, content: Rc<Script>) -> Self {
        Self::Timeout(number(&timeout), content)
    }

    fn is_enter(&self) -> bool {
        matches!(self, Self::Enter(_))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    EnterFrom(u8),
    Received(u32),
    Inserted(u32),
    Timeout(usize, u32),
}

/// The machine's own part: its callback, and what it was called with, when.
#[derive(Debug, Default, PartialEq)]
struct User {
    trace: Vec<(u64, u8, What)>,
    enters: VecDeque<(To<u8>, Vec<Act>)>,
}

impl User {
    /// What the callback returns; `None` if it stops the machine.
    fn handle(&mut self, now: u64, state: u8, event: &Event) -> Option<(To<u8>, Vec<Act>)> {
        let (what, script) = match event {
            Event::Enter(old) => (What::EnterFrom(*old), None),
            Event::Received(script) => (What::Received(script.id), Some(script)),
            Event::Inserted(script) => (What::Inserted(script.id), Some(script)),
            Event::Timeout(number, script) => (What::Timeout(*number, script.id), Some(script)),
        };
        self.trace.push((now, state, what));
        if self.trace.len() == CALLBACKS {
            return None;
        }
        Some(match script {
            None => self.enters.pop_front().unwrap_or((To::Keep, Vec::new())),
            Some(script) => {
                self.enters = script.enters.iter().cloned().collect();
                (script.to.clone(), script.acts.clone())
            }
        })
    }
}

/// How a list ended.
#[derive(Debug, PartialEq)]
enum End {
    Waits { state: u8, due: BTreeSet<u64> },
    Limit,
    Bad(Bad<u8>),
}

/// The rules as the manual has them.
struct Model {
    user: User,
    state: u8,
    state_enter: bool,
    incoming: Vec<Entry>,
    mark: usize,
    timeouts: BTreeMap<usize, Running>,
    now: u64,
    starts: u64,
}

enum Entry {
    Event(Event),
    /// A zero timeout, whose content may still be updated.
    Zero(usize),
}

struct Running {
    /// When, and the how-manieth to be started. `None` if it stands among the events.
    due: Option<(u64, u64)>,
    content: Rc<Script>,
}

impl Model {
    fn run(state_enter: bool, init: &[Act], enters: &[(To<u8>, Vec<Act>)], steps: &[Step]) -> (User, End) {
        let user = User { trace: Vec::new(), enters: enters.iter().cloned().collect() };
        let (incoming, timeouts) = (Vec::new(), BTreeMap::new());
        let mut model = Self { user, state: 0, state_enter, incoming, mark: 0, timeouts, now: 0, starts: 0 };
        let end = model.all(init, steps);
        let due = model.timeouts.values().filter_map(|running| running.due.map(|(due, _)| due)).collect();
        let end = end.err().unwrap_or(End::Waits { state: model.state, due });
        (model.user, end)
    }

    fn all(&mut self, init: &[Act], steps: &[Step]) -> Result<(), End> {
        self.transition(None, To::Keep, init.to_vec(), true)?;
        self.until_empty()?;
        for step in steps {
            match step {
                Step::Receive(script) => {
                    self.incoming.push(Entry::Event(Event::Received(script.clone())));
                    self.until_empty()?;
                }
                Step::Wait(ms) => {
                    let until = self.now + ms;
                    while let Some((due, fired)) = self.first_due().filter(|((due, _), _)| *due <= until) {
                        self.now = due.0;
                        let content = self.timeouts.remove(&fired).unwrap().content;
                        self.incoming.push(Entry::Event(Event::Timeout(fired, content)));
                        self.until_empty()?;
                    }
                    self.now = until;
                }
            }
        }
        Ok(())
    }

    fn first_due(&self) -> Option<((u64, u64), usize)> {
        self.timeouts.iter().filter_map(|(number, running)| Some((running.due?, *number))).min()
    }

    fn until_empty(&mut self) -> Result<(), End> {
        while let Some(entry) = self.incoming.get(self.mark) {
            let event = match entry {
                Entry::Event(event) => event.clone(),
                Entry::Zero(number) => {
                    let number = *number;
                    let event = Event::Timeout(number, self.timeouts.remove(&number).unwrap().content);
                    self.incoming[self.mark] = Entry::Event(event.clone());
                    event
                }
            };
            let (to, acts) = self.user.handle(self.now, self.state, &event).ok_or(End::Limit)?;
            self.transition(Some(event), to, acts, false)?;
        }
        Ok(())
    }

    fn transition(
        &mut self,
        event: Option<Event>,
        to: To<u8>,
        acts: Vec<Act>,
        first: bool,
    ) -> Result<(), End> {
        let old = self.state;
        let mut acts = acts;
        // 1. State enter calls, whose actions are appended.
        let mut call_enter = first || to == To::Repeat;
        if let To::Next(next) = to {
            call_enter = next != old;
            self.state = next;
        }
        while call_enter && self.state_enter {
            let returned = self.user.handle(self.now, self.state, &Event::Enter(old));
            let (to, more) = returned.ok_or(End::Limit)?;
            if let To::Next(next) = to
                && next != self.state
            {
                return Err(End::Bad(Bad::EnterReturn(next)));
            }
            for act in &more {
                match act {
                    Act::Postpone => return Err(End::Bad(Bad::EnterAction("postpone"))),
                    Act::Insert(_) => return Err(End::Bad(Bad::EnterAction("next_event"))),
                    _ => {}
                }
            }
            acts.extend(more);
            call_enter = to == To::Repeat;
        }
        // 3. The event is postponed: the mark moves past it. Else it is gone.
        if event.is_some() {
            if acts.contains(&Act::Postpone) {
                self.mark += 1;
            } else {
                self.incoming.remove(self.mark);
            }
        }
        // 4. A change of state starts with the oldest postponed event.
        let changed = self.state != old;
        if changed {
            self.mark = 0;
        }
        // 5. Inserted events come before all others.
        let inserted = acts.iter().filter_map(|act| match act {
            Act::Insert(script) => Some(Entry::Event(Event::Inserted(script.clone()))),
            _ => None,
        });
        self.incoming.splice(self.mark..self.mark, inserted);
        // 6. Timeouts.
        self.cancel(0);
        if changed {
            self.cancel(1);
        }
        let last: BTreeMap<usize, usize> =
            acts.iter().enumerate().filter_map(|(at, act)| Some((act.timeout()?, at))).collect();
        let last: BTreeSet<usize> = last.into_values().collect();
        for at in &last {
            match &acts[*at] {
                Act::Start(number, Time::After(after), content) if after.is_zero() => {
                    self.zero(*number, content)
                }
                Act::Update(number, content) if !self.timeouts.contains_key(number) => {
                    self.zero(*number, content)
                }
                Act::Update(number, content) => {
                    self.timeouts.get_mut(number).unwrap().content = content.clone();
                }
                Act::Cancel(number) | Act::Start(number, Time::Infinity, _) => self.cancel(*number),
                _ => {}
            }
        }
        for at in last.iter().rev() {
            if let Act::Start(number, time, content) = &acts[*at] {
                let due = match time {
                    Time::After(after) if !after.is_zero() => {
                        self.now + u64::try_from(after.as_millis()).unwrap()
                    }
                    Time::At(at) => self.now.max(at.0),
                    _ => continue,
                };
                self.cancel(*number);
                self.starts += 1;
                let running = Running { due: Some((due, self.starts)), content: content.clone() };
                self.timeouts.insert(*number, running);
            }
        }
        Ok(())
    }

    fn zero(&mut self, number: usize, content: &Rc<Script>) {
        self.cancel(number);
        self.timeouts.insert(number, Running { due: None, content: content.clone() });
        self.incoming.push(Entry::Zero(number));
    }

    fn cancel(&mut self, number: usize) {
        self.timeouts.remove(&number);
        self.incoming.retain(|entry| !matches!(entry, Entry::Zero(zero) if *zero == number));
    }
}

impl Act {
    fn timeout(&self) -> Option<usize> {
        match self {
            Self::Postpone | Self::Insert(_) => None,
            Self::Start(number, ..) | Self::Update(number, _) | Self::Cancel(number) => Some(*number),
        }
    }
}

/// The core, with timers that fire on a clock of numbers.
struct Driven {
    user: User,
    core: Core<u8, Event, Rc<Script>>,
    timers: BTreeSet<(u64, u64)>,
    cancelled: Vec<u64>,
    now: u64,
}

impl Driven {
    fn run(state_enter: bool, init: &[Act], enters: &[(To<u8>, Vec<Act>)], steps: &[Step]) -> (User, End) {
        let user = User { trace: Vec::new(), enters: enters.iter().cloned().collect() };
        let core = Core::new(0, state_enter, actions(init.to_vec(), None)).unwrap();
        let mut driven = Self { user, core, timers: BTreeSet::new(), cancelled: Vec::new(), now: 0 };
        let end = driven.all(steps);
        let due = driven.timers.iter().map(|(due, _)| *due).collect();
        let end = end.err().unwrap_or(End::Waits { state: *driven.core.state(), due });
        (driven.user, end)
    }

    fn all(&mut self, steps: &[Step]) -> Result<(), End> {
        self.command();
        self.until_empty()?;
        for step in steps {
            match step {
                Step::Receive(script) => {
                    self.core.received(Event::Received(script.clone()));
                    self.until_empty()?;
                }
                Step::Wait(ms) => {
                    let until = self.now + ms;
                    while let Some((due, number)) = self.timers.first().copied().filter(|it| it.0 <= until) {
                        self.timers.remove(&(due, number));
                        self.now = due;
                        self.core.fired(number);
                        self.until_empty()?;
                    }
                    self.now = until;
                }
            }
        }
        Ok(())
    }

    fn until_empty(&mut self) -> Result<(), End> {
        while let Some(event) = self.core.next() {
            let state = *self.core.state();
            let (to, acts) = self.user.handle(self.now, state, &event).ok_or(End::Limit)?;
            self.core.returned(to, actions(acts, Some(event))).map_err(End::Bad)?;
            self.command();
        }
        // One whose message was on its way when it was cancelled.
        for number in self.cancelled.drain(..) {
            self.core.fired(number);
            assert_eq!(self.core.next(), None, "a cancelled timer fired");
        }
        Ok(())
    }

    fn command(&mut self) {
        for command in self.core.commands() {
            match command {
                Command::Start(number, time) => {
                    let due = match time {
                        Time::After(after) => self.now + u64::try_from(after.as_millis()).unwrap(),
                        Time::At(at) => self.now.max(at.0),
                        Time::Infinity => panic!("a timer that never fires"),
                    };
                    self.timers.insert((due, number));
                }
                Command::Cancel(number) => {
                    let before = self.timers.len();
                    self.timers.retain(|(_, running)| *running != number);
                    assert_eq!(self.timers.len(), before - 1, "timer {number} does not run");
                    self.cancelled.push(number);
                }
            }
        }
    }
}

fn actions(acts: Vec<Act>, event: Option<Event>) -> Vec<Action<Event, Rc<Script>>> {
    let mut event = event;
    let actions = acts.into_iter().filter_map(|act| {
        Some(match act {
            // It can be given back once.
            Act::Postpone => Action::Postpone(event.take()?),
            Act::Insert(script) => Action::NextEvent(Event::Inserted(script)),
            Act::Start(number, time, content) => Action::Timeout(timeout(number), Set::Start(time, content)),
            Act::Update(number, content) => Action::Timeout(timeout(number), Set::Update(content)),
            Act::Cancel(number) => Action::Timeout(timeout(number), Set::Cancel),
        })
    });
    actions.collect()
}

struct Random {
    rng: ChaCha8Rng,
    id: u32,
}

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.rng.next_u32() % n
    }

    fn script(&mut self, depth: u32) -> Rc<Script> {
        self.id += 1;
        let id = self.id;
        let to = match self.below(10) {
            0..3 => To::Next(self.state()),
            3 => To::Repeat,
            _ => To::Keep,
        };
        let acts = self.acts(depth, true);
        let enters = (0..self.below(3)).map(|_| self.enter(depth)).collect();
        Rc::new(Script { id, to, acts, enters })
    }

    fn state(&mut self) -> u8 {
        u8::try_from(self.below(3)).unwrap()
    }

    fn enter(&mut self, depth: u32) -> (To<u8>, Vec<Act>) {
        let to = match self.below(40) {
            0 => To::Next(self.state()),
            1..4 => To::Repeat,
            _ => To::Keep,
        };
        let all = self.below(30) == 0;
        (to, self.acts(depth.min(1), all))
    }

    fn acts(&mut self, depth: u32, all: bool) -> Vec<Act> {
        let mut acts = Vec::new();
        for _ in 0..self.below(5) {
            let number = usize::try_from(self.below(4)).unwrap();
            match self.below(10) {
                0 | 1 if all => acts.push(Act::Postpone),
                2 => acts.push(Act::Cancel(number)),
                _ if depth == 0 => {}
                3 if all => acts.push(Act::Insert(self.script(depth - 1))),
                4 => acts.push(Act::Update(number, self.script(depth - 1))),
                5..10 => {
                    let time = match self.below(8) {
                        0 => Time::Infinity,
                        1..4 => Time::After(Duration::ZERO),
                        4 => Time::At(Mono(u64::from(self.below(12)))),
                        _ => Time::After(Duration::from_millis(u64::from(1 + self.below(4)))),
                    };
                    acts.push(Act::Start(number, time, self.script(depth - 1)));
                }
                _ => {}
            }
        }
        acts
    }

    fn steps(&mut self) -> Vec<Step> {
        let steps = (0..3 + self.below(8)).map(|_| match self.below(3) {
            0 => Step::Wait(u64::from(self.below(5))),
            _ => Step::Receive(self.script(2)),
        });
        steps.collect()
    }
}

#[test]
fn the_core_does_what_the_manual_says() {
    let mut ends = BTreeMap::<&str, u64>::new();
    let (mut enters, mut timeouts) = (0, 0);
    for seed in 0..LISTS {
        let mut random = Random { rng: ChaCha8Rng::seed_from_u64(seed), id: 0 };
        let state_enter = random.below(2) == 0;
        let mut init = random.acts(1, true);
        init.retain(|act| *act != Act::Postpone);
        let first = vec![random.enter(1)];
        let steps = random.steps();
        let core = Driven::run(state_enter, &init, &first, &steps);
        let model = Model::run(state_enter, &init, &first, &steps);
        assert_eq!(
            core, model,
            "core and model, seed {seed}: enter {state_enter}, {init:?}, {first:?}, {steps:#?}"
        );
        let (user, end) = core;
        enters += user.trace.iter().filter(|(.., what)| matches!(what, What::EnterFrom(_))).count();
        timeouts += user.trace.iter().filter(|(.., what)| matches!(what, What::Timeout(..))).count();
        *ends
            .entry(match end {
                End::Waits { .. } => "waits",
                End::Limit => "limit",
                End::Bad(Bad::EnterReturn(_)) => "return",
                End::Bad(Bad::EnterAction(_)) => "action",
                End::Bad(Bad::Action(_)) => "event",
            })
            .or_default() += 1;
    }
    // The lists do what they are for.
    assert!(ends["waits"] > LISTS / 2 && ends["return"] > 50 && ends["action"] > 50, "{ends:?}");
    assert!(enters > 10_000 && timeouts > 10_000, "{enters} state enter calls, {timeouts} timeouts");
}
