//! What a process is related to: links with the UNLINK_ID protocol, monitors in both directions, aliases and
//! open calls. Plain data, owned by the process.
//!
//! Source: *Distribution Protocol*, "Link Protocol", in the ERTS User's Guide.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::hint::cold_path;

use super::kept::{Kept, KeptMonitors};
use super::{ConnectionId, Destination, ExitReason, Giver, Usage};
use crate::dist::Item;
use crate::etf::Payload;
use crate::term::{Atom, Pid, Reference};

/// The outcome of a call, as the waiting caller gets it.
pub(super) type CallOutcome = Result<Payload, ExitReason>;

/// The outcome of a request for a process.
pub(super) type SpawnOutcome = Result<Pid, Atom>;

#[derive(Default)]
pub(super) struct Relations {
    links: BTreeMap<Pid, Link>,
    /// What this process monitors, by the number of the reference.
    monitors: BTreeMap<u64, (Reference, Monitor)>,
    /// Who monitors this process.
    watchers: BTreeMap<(Pid, Reference), Watcher>,
    /// Those of them that came last, and are none of the above: a call's monitor is gone before it would be worth a place in a tree.
    young_watchers: Vec<((Pid, Reference), Watcher)>,
    /// Each with whether it takes priority messages.
    aliases: BTreeMap<Reference, bool>,
    calls: Calls,
    kept: KeptMonitors,
    /// Requests for processes that are not answered yet, with the connection that each went over.
    spawns: BTreeMap<Reference, (Giver<SpawnOutcome>, Option<ConnectionId>)>,
    unlink_id: u64,
    /// Every connection that one of them went over: it is told when the process ends.
    connections: Vec<ConnectionId>,
}

/// A call that is under way. Its monitor is the call's own, so that no DOWN of it is ever a message.
struct Call {
    reference: Reference,
    /// Until there is an outcome.
    caller: Option<Giver<CallOutcome>>,
    /// Until it has fired. None if the call has a kept one, as most do that are made to other nodes: so it is boxed.
    monitor: Option<Box<Monitor>>,
}

/// Calls, by the number of their reference.
#[derive(Default)]
struct Calls {
    /// Mostly it is one, or few: those are looked through one by one.
    few: Vec<(u64, Call)>,
    others: HashMap<u64, Call, BuildHasherDefault<Number>>,
}

/// How many calls are looked through one by one.
const FEW_CALLS_MAX: usize = 4;

impl Calls {
    #[inline]
    fn insert(&mut self, number: u64, reference: Reference, caller: Giver<CallOutcome>) -> &mut Call {
        let call = Call { reference, caller: Some(caller), monitor: None };
        if self.few.len() < FEW_CALLS_MAX {
            return &mut self.few.push_mut((number, call)).1;
        }
        cold_path();
        self.others.entry(number).insert_entry(call).into_mut()
    }

    #[inline(always)]
    fn get_mut(&mut self, number: u64) -> Option<&mut Call> {
        if let [(it, _)] = &*self.few
            && *it == number
        {
            return Some(&mut self.few[0].1);
        }
        self.find_mut(number)
    }

    #[cold]
    fn find_mut(&mut self, number: u64) -> Option<&mut Call> {
        let few = self.few.iter_mut().find(|(it, _)| *it == number).map(|(_, call)| call);
        few.or_else(|| self.others.get_mut(&number))
    }

    #[inline(always)]
    fn remove(&mut self, number: u64) -> Option<Call> {
        match self.few.as_slice() {
            [(it, _)] if *it == number => self.few.pop().map(|(_, call)| call),
            _ => self.remove_one(number),
        }
    }

    #[cold]
    fn remove_one(&mut self, number: u64) -> Option<Call> {
        match self.few.iter().position(|(it, _)| *it == number) {
            Some(at) => Some(self.few.swap_remove(at).1),
            None => self.others.remove(&number),
        }
    }

    /// All of them, in the order of their numbers.
    #[expect(clippy::disallowed_methods, reason = "they are put in order")]
    fn in_order(&self) -> Vec<(u64, &Call)> {
        let few = self.few.iter().map(|(number, call)| (*number, call));
        let mut all: Vec<_> = few.chain(self.others.iter().map(|(number, call)| (*number, call))).collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all
    }
}

/// What the end of a call leaves to do.
#[derive(Debug)]
pub(super) enum Closed {
    Nothing,
    /// Its monitor is kept.
    Kept,
    Demonitor(Reference, Monitor),
}

/// How many of the last watchers are looked through one by one.
const YOUNG_WATCHERS_MAX: usize = 8;

/// Hashes a number that this node has given out itself: nobody else chooses the keys.
#[derive(Default)]
pub(crate) struct Number(u64);

impl Hasher for Number {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing: the table looks at the highest bits too.
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }
}

/// What tells the references that one process has made apart.
fn number(reference: &Reference) -> u64 {
    match reference.words() {
        [low, high, ..] => u64::from(*high) << 32 | u64::from(*low),
        _ => 0,
    }
}

#[derive(Debug)]
struct Link {
    connection: Option<ConnectionId>,
    /// The id of an unlink that is not acknowledged yet: the link is inactive while there is one.
    unlinking: Option<u64>,
}

/// What a monitor watches, as its DOWN message names it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Monitored {
    Process(Pid),
    Name(Atom, Atom),
}

impl Monitored {
    /// The node that it is on.
    pub(super) fn node(&self) -> &Atom {
        match self {
            Self::Process(pid) => &pid.node,
            Self::Name(_, node) => node,
        }
    }

    /// What its node is asked to watch.
    pub(super) fn item(&self) -> Item {
        match self {
            Self::Process(pid) => Item::Pid(pid.clone()),
            Self::Name(name, _) => Item::Name(name.clone()),
        }
    }
}

#[derive(Debug)]
pub(super) struct Monitor {
    pub(super) target: Monitored,
    /// The local process that a name stood for when the monitor was set.
    pub(super) bound: Option<Pid>,
    pub(super) connection: Option<ConnectionId>,
}

impl Monitor {
    /// One that nothing is known of yet but what it watches.
    fn of(target: Monitored) -> Self {
        Self { target, bound: None, connection: None }
    }
}

#[derive(Debug)]
pub(super) struct Watcher {
    /// The name by which the process is monitored, if it is.
    pub(super) name: Option<Atom>,
    connection: Option<ConnectionId>,
}

/// What the loss of a connection takes with it.
#[derive(Default)]
pub(super) struct Lost {
    pub(super) links: Vec<Pid>,
    pub(super) monitors: Vec<Reference>,
    pub(super) spawns: Vec<Giver<SpawnOutcome>>,
}

/// Who a process is related to, as others may see it.
#[derive(Default)]
pub(super) struct Related {
    pub(super) links: Vec<Pid>,
    pub(super) monitors: Vec<Destination>,
    pub(super) monitored_by: Vec<Pid>,
}

impl Relations {
    /// `link/1`. Returns whether a LINK is to be sent.
    pub(super) fn link(&mut self, to: &Pid) -> bool {
        match self.links.get_mut(to) {
            Some(link) if link.unlinking.is_none() => false,
            Some(link) => {
                // A late acknowledgement of the former unlink must not end the new link.
                link.unlinking = None;
                true
            }
            None => {
                self.links.insert(to.clone(), Link { connection: None, unlinking: None });
                true
            }
        }
    }

    /// Remembers the connection that a link goes over.
    pub(super) fn link_over(&mut self, to: &Pid, connection: Option<ConnectionId>) {
        if let Some(link) = self.links.get_mut(to) {
            link.connection = connection;
        }
        self.over(connection);
    }

    /// `unlink/1`. Returns the id of the UNLINK_ID that is to be sent.
    pub(super) fn unlink(&mut self, to: &Pid) -> Option<u64> {
        let link = self.links.get_mut(to).filter(|link| link.unlinking.is_none())?;
        self.unlink_id = self.unlink_id.checked_add(1).unwrap_or(1);
        link.unlinking = Some(self.unlink_id);
        Some(self.unlink_id)
    }

    pub(super) fn link_received(&mut self, from: Pid, connection: Option<ConnectionId>) {
        // An inactive entry stays so: both ends then agree on "not linked".
        self.links.entry(from).or_insert(Link { connection, unlinking: None });
        self.over(connection);
    }

    pub(super) fn unlink_received(&mut self, from: &Pid) {
        if self.links.get(from).is_some_and(|link| link.unlinking.is_none()) {
            self.links.remove(from);
        }
    }

    pub(super) fn unlink_acknowledged(&mut self, from: &Pid, id: u64) {
        if self.links.get(from).is_some_and(|link| link.unlinking == Some(id)) {
            self.links.remove(from);
        }
    }

    /// Removes the link because the other end exited. Returns whether it was active.
    pub(super) fn link_exited(&mut self, from: &Pid) -> bool {
        self.links.remove(from).is_some_and(|link| link.unlinking.is_none())
    }

    #[hot(relations)]
    pub(super) fn monitor(&mut self, reference: Reference, monitor: Monitor) {
        self.monitors.insert(number(&reference), (reference, monitor));
    }

    #[hot(relations)]
    pub(super) fn monitor_over(
        &mut self,
        reference: &Reference,
        connection: Option<ConnectionId>,
        bound: Option<Pid>,
    ) {
        let of_call = self.calls.get_mut(number(reference)).filter(|call| call.reference == *reference);
        let monitor = match of_call {
            Some(call) => call.monitor.as_deref_mut(),
            None => {
                let found = self.monitors.get_mut(&number(reference));
                found.filter(|(known, _)| known == reference).map(|(_, monitor)| monitor)
            }
        };
        if let Some(monitor) = monitor {
            monitor.connection = connection;
            monitor.bound = bound;
        }
        self.over(connection);
    }

    /// The connection that a monitor went over, if it is there and goes over one.
    pub(super) fn monitored_over(&self, reference: &Reference) -> Option<ConnectionId> {
        let (known, monitor) = self.monitors.get(&number(reference))?;
        (known == reference).then_some(monitor.connection)?
    }

    pub(super) fn demonitor(&mut self, reference: &Reference) -> Option<Monitor> {
        let number = number(reference);
        let (known, _) = self.monitors.get(&number)?;
        if known != reference {
            return None;
        }
        self.monitors.remove(&number).map(|(_, monitor)| monitor)
    }

    #[hot(relations)]
    pub(super) fn watch(
        &mut self,
        from: Pid,
        reference: Reference,
        name: Option<Atom>,
        connection: Option<ConnectionId>,
    ) {
        self.unwatch(&from, &reference);
        self.over(connection);
        if self.young_watchers.len() == YOUNG_WATCHERS_MAX {
            let (key, watcher) = self.young_watchers.remove(0);
            self.watchers.insert(key, watcher);
        }
        self.young_watchers.push(((from, reference), Watcher { name, connection }));
    }

    #[hot(relations)]
    pub(super) fn unwatch(&mut self, from: &Pid, reference: &Reference) {
        let is_it = |(of, known): &(Pid, Reference)| known == reference && of == from;
        if let Some(at) = self.young_watchers.iter().position(|(key, _)| is_it(key)) {
            self.young_watchers.remove(at);
        } else if !self.watchers.is_empty() {
            self.watchers.remove(&(from.clone(), reference.clone()));
        }
    }

    pub(super) fn alias(&mut self, alias: Reference, takes_priority: bool) {
        self.aliases.insert(alias, takes_priority);
    }

    pub(super) fn unalias(&mut self, alias: &Reference) -> bool {
        self.aliases.remove(alias).is_some()
    }

    /// Whether an alias takes priority messages; none if it is not active.
    pub(super) fn takes_priority(&self, alias: &Reference) -> Option<bool> {
        self.aliases.get(alias).copied()
    }

    /// Opens a call, of a process with this pid or of what else `target` is: what it is to monitor. Returns the connection of the kept
    /// monitor, if the call takes that.
    #[inline(always)]
    pub(super) fn open_call(
        &mut self,
        reference: Reference,
        caller: Giver<CallOutcome>,
        pid: Option<&Pid>,
        target: impl FnOnce() -> Option<Monitored>,
    ) -> Option<ConnectionId> {
        let number = number(&reference);
        let call = self.calls.insert(number, reference, caller);
        if let Some(pid) = pid
            && let Some(kept) = self.kept.find(|kept| kept.call.is_none() && kept.pid == *pid)
        {
            kept.call = Some(number);
            return Some(kept.connection);
        }
        cold_path();
        call.monitor = target().map(Monitor::of).map(Box::new);
        None
    }

    /// The kept monitor is of a connection that is lost: the call that has it gets one of its own.
    pub(super) fn monitor_anew(&mut self, reference: &Reference, target: &Monitored) {
        let number = number(reference);
        self.kept.remove(|kept| kept.call == Some(number));
        if let Some(call) = self.call(reference) {
            call.monitor = Some(Box::new(Monitor::of(target.clone())));
        }
    }

    /// A kept monitor that no call has, and nobody is going to take.
    pub(super) fn release_kept(&mut self) -> Option<(Reference, Monitor)> {
        self.kept.remove(|kept| kept.call.is_none()).map(Kept::into_monitor)
    }

    #[inline(always)]
    fn call(&mut self, reference: &Reference) -> Option<&mut Call> {
        self.calls.get_mut(number(reference)).filter(|call| call.reference == *reference)
    }

    /// Who waits for the outcome of a call: nobody if there is one already.
    pub(super) fn take_caller(&mut self, reference: &Reference) -> Option<Giver<CallOutcome>> {
        self.call(reference)?.caller.take()
    }

    /// The monitor of a call has fired. `None` if it is no call's, else who waits, if anybody still does.
    pub(super) fn call_down(&mut self, reference: &Reference) -> Option<Option<Giver<CallOutcome>>> {
        if let Some(kept) = self.kept.remove(|kept| kept.reference == *reference) {
            let call = kept.call.and_then(|number| self.calls.get_mut(number));
            return Some(call.and_then(|call| call.caller.take()));
        }
        let call = self.call(reference)?;
        call.monitor.take()?;
        Some(call.caller.take())
    }

    /// Forgets a call. With `keep`, its monitor stays for the next one if it may.
    #[inline(always)]
    pub(super) fn close_call(&mut self, reference: &Reference, keep: bool) -> Closed {
        let number = number(reference);
        if self.call(reference).is_none() {
            cold_path();
            return Closed::Nothing;
        }
        let monitor = self.calls.remove(number).and_then(|call| call.monitor);
        if monitor.is_none() && keep {
            return self.kept.find(|kept| kept.call == Some(number)).map_or(Closed::Nothing, |kept| {
                kept.call = None;
                Closed::Kept
            });
        }
        cold_path();
        match monitor.map(|monitor| *monitor) {
            None => {
                let kept = self.kept.remove(|kept| kept.call == Some(number)).map(Kept::into_monitor);
                kept.map_or(Closed::Nothing, |(reference, monitor)| Closed::Demonitor(reference, monitor))
            }
            Some(Monitor { target: Monitored::Process(pid), connection: Some(connection), .. })
                if keep && self.kept.has_room() =>
            {
                self.kept.add(Kept { reference: reference.clone(), pid, connection, call: None });
                Closed::Kept
            }
            Some(monitor) => Closed::Demonitor(reference.clone(), monitor),
        }
    }

    /// A process is asked for.
    pub(super) fn open_spawn(&mut self, reference: Reference, caller: Giver<SpawnOutcome>) {
        self.spawns.insert(reference, (caller, None));
    }

    /// Remembers the connection that the request goes over.
    pub(super) fn spawn_over(&mut self, reference: &Reference, connection: Option<ConnectionId>) {
        if let Some((_, over)) = self.spawns.get_mut(reference) {
            *over = connection;
        }
        self.over(connection);
    }

    /// Who waits for the process that was asked for.
    pub(super) fn take_spawn(&mut self, reference: &Reference) -> Option<Giver<SpawnOutcome>> {
        self.spawns.remove(reference).map(|(caller, _)| caller)
    }

    /// Forgets what went over a lost connection, and tells what the process must hear of.
    pub(super) fn connection_lost(&mut self, connection: ConnectionId) -> Lost {
        let mut lost = Lost::default();
        self.connections.retain(|known| *known != connection);
        self.links.retain(|pid, link| {
            if link.connection != Some(connection) {
                return true;
            }
            if link.unlinking.is_none() {
                lost.links.push(pid.clone());
            }
            false
        });
        let calls = self.calls.in_order();
        let of_calls = calls.iter().filter_map(|(_, call)| Some((&call.reference, call.monitor.as_deref()?)));
        lost.monitors = self
            .monitors
            .values()
            .map(|(reference, monitor)| (reference, monitor))
            .chain(of_calls)
            .filter(|(_, monitor)| monitor.connection == Some(connection))
            .map(|(reference, _)| reference)
            .chain(self.kept.iter().filter(|kept| kept.connection == connection).map(|kept| &kept.reference))
            .cloned()
            .collect();
        let spawns = std::mem::take(&mut self.spawns);
        for (reference, (caller, over)) in spawns {
            if over == Some(connection) {
                lost.spawns.push(caller);
            } else {
                self.spawns.insert(reference, (caller, over));
            }
        }
        self.watchers.retain(|_, watcher| watcher.connection != Some(connection));
        self.young_watchers.retain(|(_, watcher)| watcher.connection != Some(connection));
        lost
    }

    /// Who the process is related to now.
    pub(super) fn related(&self) -> Related {
        let links = self.links.iter().filter(|(_, link)| link.unlinking.is_none());
        let monitors = self.monitors.values().map(|(_, monitor)| match &monitor.target {
            Monitored::Process(pid) => Destination::Pid(pid.clone()),
            Monitored::Name(name, node) => Destination::Remote(name.clone(), node.clone()),
        });
        let old = self.watchers.keys();
        let young = self.young_watchers.iter().map(|(watcher, _)| watcher);
        Related {
            links: links.map(|(pid, _)| pid.clone()).collect(),
            monitors: monitors.collect(),
            monitored_by: old.chain(young).map(|(pid, _)| pid.clone()).collect(),
        }
    }

    /// How many there are of each.
    pub(super) fn usage(&self) -> Usage {
        Usage {
            links: self.links.len(),
            monitors: self.monitors.len(),
            monitored_by: self.watchers.len() + self.young_watchers.len(),
            aliases: self.aliases.len(),
            ..Usage::default()
        }
    }

    /// All connections that relations have gone over.
    pub(super) fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.connections.iter().copied()
    }

    fn over(&mut self, connection: Option<ConnectionId>) {
        if let Some(connection) = connection
            && !self.connections.contains(&connection)
        {
            self.connections.push(connection);
        }
    }

    /// Takes all apart when the process ends.
    #[expect(clippy::type_complexity, reason = "three lists, used at one place")]
    pub(super) fn into_parts(
        mut self,
    ) -> (Vec<Pid>, BTreeMap<(Pid, Reference), Watcher>, Vec<(Reference, Monitor)>) {
        for (number, call) in self.calls.few.into_iter().chain(self.calls.others) {
            if let Call { reference, monitor: Some(monitor), .. } = call {
                self.monitors.insert(number, (reference, *monitor));
            }
        }
        let kept = self.kept.into_iter().map(Kept::into_monitor);
        self.watchers.extend(self.young_watchers);
        let links =
            self.links.into_iter().filter(|(_, link)| link.unlinking.is_none()).map(|(pid, _)| pid).collect();
        (links, self.watchers, self.monitors.into_values().chain(kept).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::reply_cell;

    fn pid(id: u32) -> Pid {
        Pid { node: Atom::from_static("a@h"), id, serial: 0, creation: 1 }
    }

    fn reference(number: u32) -> Reference {
        Reference::new(Atom::from_static("a@h"), 1, &[number, 0, 7, 0]).unwrap()
    }

    /// A call of process 9.
    fn open_call(relations: &mut Relations, number: u32) -> Option<ConnectionId> {
        let target = || Some(Monitored::Process(pid(9)));
        relations.open_call(reference(number), reply_cell().0, Some(&pid(9)), target)
    }

    #[test]
    fn every_watcher_is_known_once_however_many_there_are() {
        let mut relations = Relations::default();
        let connection = Some(ConnectionId(3));
        for _ in 0..2 {
            for number in 0..40 {
                relations.watch(pid(number % 4), reference(number), None, connection);
            }
        }
        for number in (0..40).step_by(3) {
            relations.unwatch(&pid(number % 4), &reference(number));
            relations.unwatch(&pid(99), &reference(number + 1));
        }
        assert_eq!(relations.connections().collect::<Vec<_>>(), [ConnectionId(3)]);
        let (_, watchers, _) = relations.into_parts();
        let mut left: Vec<u32> = watchers.keys().map(|(_, reference)| reference.words()[0]).collect();
        left.sort_unstable();
        assert_eq!(left, (0..40).filter(|number| number % 3 != 0).collect::<Vec<_>>());
    }

    #[test]
    fn however_many_calls_are_open_each_has_its_own_end() {
        let mut relations = Relations::default();
        for number in 0..12 {
            open_call(&mut relations, number);
            relations.monitor_over(&reference(number), Some(ConnectionId(u64::from(number) % 2)), None);
        }
        let is_over =
            |closed: &Closed, number| matches!(closed, Closed::Demonitor(it, _) if *it == reference(number));
        for number in [3, 11, 0, 7] {
            assert!(relations.take_caller(&reference(number)).is_some());
            assert!(is_over(&relations.close_call(&reference(number), false), number), "{number}");
            assert!(relations.take_caller(&reference(number)).is_none(), "{number}");
            assert!(matches!(relations.close_call(&reference(number), false), Closed::Nothing), "{number}");
        }
        open_call(&mut relations, 12);
        relations.monitor_over(&reference(12), Some(ConnectionId(0)), None);
        let lost = relations.connection_lost(ConnectionId(0)).monitors;
        assert_eq!(lost, [2, 4, 6, 8, 10, 12].map(reference));
        let (_, _, monitors) = relations.into_parts();
        let mut left: Vec<u32> = monitors.iter().map(|(reference, _)| reference.words()[0]).collect();
        left.sort_unstable();
        assert_eq!(left, [1, 2, 4, 5, 6, 8, 9, 10, 12]);
    }

    #[test]
    fn the_monitor_of_a_call_is_its_own_and_goes_with_its_connection() {
        let mut relations = Relations::default();
        let mut callers = Vec::new();
        for number in 0..4 {
            let (caller, waits) = reply_cell();
            let target = Monitored::Process(pid(9));
            assert_eq!(relations.open_call(reference(number), caller, Some(&pid(9)), || Some(target)), None);
            relations.monitor_over(&reference(number), Some(ConnectionId(number.into())), None);
            callers.push(waits);
        }
        // Another process's reference with the same number.
        let other = Reference::new(Atom::from_static("b@h"), 1, &[0, 0, 7, 0]).unwrap();
        assert!(relations.take_caller(&other).is_none());
        assert!(relations.take_caller(&reference(0)).is_some());
        assert!(relations.take_caller(&reference(0)).is_none(), "it has its answer");
        assert!(
            matches!(relations.call_down(&reference(0)), Some(None)),
            "nobody waits, and it is no message"
        );
        assert!(relations.call_down(&reference(0)).is_none(), "it has fired");
        assert!(matches!(relations.close_call(&reference(0), true), Closed::Nothing));
        assert_eq!(relations.connection_lost(ConnectionId(2)).monitors, [reference(2)]);
        let closed = relations.close_call(&reference(1), false);
        assert!(matches!(&closed, Closed::Demonitor(of, _) if *of == reference(1)), "{closed:?}");
        let (_, _, monitors) = relations.into_parts();
        let monitors: Vec<_> = monitors.into_iter().map(|(reference, _)| reference).collect();
        assert_eq!(monitors, [reference(2), reference(3)]);
    }
    #[test]
    fn a_kept_monitor_of_a_lost_connection_is_forgotten_by_the_call_that_finds_it() {
        let mut relations = Relations::default();
        let target = Monitored::Process(pid(9));
        let (lost, stands) = (ConnectionId(1), ConnectionId(2));
        assert_eq!(open_call(&mut relations, 0), None);
        relations.monitor_over(&reference(0), Some(lost), None);
        assert!(matches!(relations.close_call(&reference(0), true), Closed::Kept));
        assert_eq!(open_call(&mut relations, 1), Some(lost));
        relations.monitor_anew(&reference(1), &target);
        relations.monitor_over(&reference(1), Some(stands), None);
        assert!(matches!(relations.close_call(&reference(1), true), Closed::Kept));
        assert_eq!(relations.connection_lost(lost).monitors, []);
        assert_eq!(open_call(&mut relations, 2), Some(stands), "the new one is kept");
    }
}
