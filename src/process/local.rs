//! What the processes of one node share: the table, the names, and the way to other nodes.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::hint::cold_path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use super::deadline::Graces;
use super::functions::Functions;
use super::names::Names;
use super::relations::Monitored;
use super::scheduler::Schedulers;
use super::signal::Relation;
use super::spare::{self, Way};
use super::table::Table;
use serde::Serialize;

use super::gen_call::GEN_CAST;
use super::{
    AnyProcess, ConnectionId, Delivery, Destination, Distribution, Encode, ExitReason, Guest, Heritage,
    Pushed, Sent, Taking, Write,
};
use crate::dist::{Control, Item, Target};
use crate::etf::{EncodeError, Payload, Writer};
use crate::term::{Atom, Pid, Reference};
use crate::world::{Mono, World};

/// The local half of a node.
pub(crate) struct Local {
    pub(crate) node: Atom,
    pub(crate) creation: u32,
    pub(crate) world: World,
    pub(crate) table: Table,
    pub(crate) names: Names,
    pub(crate) functions: Functions,
    /// When the node began.
    pub(crate) started: Mono,
    /// What the processes inherit that no process has spawned.
    heritage: RwLock<Arc<Heritage>>,
    schedulers: OnceLock<Arc<Schedulers>>,
    watchdog: OnceLock<Duration>,
    graces: OnceLock<Arc<Graces>>,
    // Weak: the distribution owns this.
    distribution: OnceLock<Weak<dyn Distribution>>,
    references: AtomicU64,
    dropped: AtomicU64,
    /// What servers show without being asked, as in named tables of `ets`.
    shown: Mutex<BTreeMap<(Atom, TypeId), Arc<dyn Any + Send + Sync>>>,
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("node", &self.node)
            .field("creation", &self.creation)
            .finish_non_exhaustive()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Some(schedulers) = self.schedulers.get() {
            schedulers.close();
        }
        if let Some(graces) = self.graces.get() {
            graces.close();
        }
    }
}

/// The first word of a reference has 18 bits: Erlang/OTP rejects more in references of its own, and so do old tools.
const FIRST_WORD_BITS: u32 = 18;

/// Spreads a count over the first two words of a reference.
pub(super) fn reference_words(count: u64) -> (u32, u32) {
    ((count & ((1 << FIRST_WORD_BITS) - 1)) as u32, (count >> FIRST_WORD_BITS) as u32)
}

/// Whether a process has made a reference: the last words of its own name it.
#[inline]
pub(crate) fn is_reference_of(reference: &Reference, pid: &Pid) -> bool {
    let named = matches!(reference.words(), [_, _, id, serial] if (*id, *serial) == (pid.id, pid.serial));
    named && reference.creation == pid.creation && reference.node == pid.node
}

/// What the sender of a message to another node learns.
fn delivery(sent: Sent) -> Delivery {
    match sent {
        Sent::Queued { busy: Some(busy), .. } => Delivery::Busy(busy),
        // As in Erlang, a message that cannot be delivered to another node is dropped silently.
        Sent::Queued { busy: None, .. } | Sent::NoConnection => Delivery::Done,
    }
}

impl Local {
    pub(crate) fn new(node: Atom, creation: u32, world: World, processes_max: usize) -> Self {
        // The node's first process, as it is in Erlang.
        let group_leader = Pid { node: node.clone(), id: 0, serial: 0, creation };
        Self {
            node,
            creation,
            started: world.clock.mono(),
            world,
            table: Table::new(processes_max),
            names: Names::default(),
            functions: Functions::default(),
            heritage: RwLock::new(Arc::new(Heritage::of_node(group_leader))),
            schedulers: OnceLock::new(),
            watchdog: OnceLock::new(),
            graces: OnceLock::new(),
            distribution: OnceLock::new(),
            references: AtomicU64::new(1),
            dropped: AtomicU64::new(0),
            shown: Mutex::default(),
        }
    }

    /// What the server of this name shows: the same for all who ask, also before the server starts and after it has ended.
    pub(crate) fn shown_by<T: Default + Send + Sync + 'static>(&self, server: &Atom) -> Arc<T> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = shown.entry((server.clone(), TypeId::of::<T>())).or_insert_with(|| Arc::<T>::default());
        shown.clone().downcast().unwrap_or_else(|_| unreachable!("its type is in the key"))
    }

    /// How long a callback may run, if that is watched: to be set before there are processes.
    pub(crate) fn set_watchdog(&self, limit: Duration) {
        let _ = self.watchdog.set(limit);
    }

    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.watchdog.get().copied()
    }

    /// Who runs the processes: started with the first of them, on its runtime.
    #[inline]
    pub(super) fn schedulers(self: &Arc<Self>) -> &Arc<Schedulers> {
        match self.schedulers.get() {
            Some(schedulers) => schedulers,
            None => self.start_schedulers(),
        }
    }

    #[cold]
    fn start_schedulers(self: &Arc<Self>) -> &Arc<Schedulers> {
        self.schedulers.get_or_init(|| {
            let graces = self.graces.get_or_init(Arc::default);
            self.world.spawn(graces.clone().run(self.world.clone()));
            Schedulers::start(&self.world, self)
        })
    }

    /// A place for who runs processes where it delivers to them.
    pub(crate) fn guest(self: &Arc<Self>) -> Option<Guest> {
        Guest::new(self.schedulers())
    }

    /// Where callers wait that are no processes, once there are any.
    pub(super) fn graces(&self) -> Option<&Graces> {
        self.graces.get().map(|graces| &**graces)
    }

    /// What the processes inherit that no process has spawned.
    pub(crate) fn heritage(&self) -> Arc<Heritage> {
        self.heritage.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_heritage(&self, heritage: Heritage) {
        *self.heritage.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(heritage);
    }

    pub(crate) fn connect_to(&self, distribution: Weak<dyn Distribution>) {
        // Set once, when the node is built.
        let _ = self.distribution.set(distribution);
    }

    #[inline]
    pub(crate) fn distribution(&self) -> Option<Arc<dyn Distribution>> {
        let Some(distribution) = self.distribution.get() else {
            cold_path();
            return None;
        };
        distribution.upgrade()
    }

    pub(crate) fn pid(&self, id: u32, serial: u32) -> Pid {
        Pid { node: self.node.clone(), id, serial, creation: self.creation }
    }

    /// `make_ref/0`.
    pub(crate) fn make_reference(&self) -> Reference {
        let (low, high) = reference_words(self.references.fetch_add(1, Ordering::Relaxed));
        // Three words: those of a process have four.
        Reference::of_words(self.node.clone(), self.creation, 3, [low, high, 0, 0, 0])
    }

    #[hot(relations)]
    pub(crate) fn is_local(&self, node: &Atom) -> bool {
        *node == self.node
    }

    /// The live process of a pid of this node, of this life of it.
    #[inline]
    #[hot(relations)]
    pub(crate) fn process(&self, pid: &Pid) -> Option<Arc<dyn AnyProcess>> {
        if (pid.creation != self.creation && !self.world.planted("any-creation")) || pid.node != self.node {
            return None;
        }
        self.table.get(pid.id, pid.serial)
    }

    /// The process that an alias or monitor reference of this node belongs to: its words name it.
    #[inline(always)]
    pub(crate) fn process_of_alias(&self, alias: &Reference) -> Option<Arc<dyn AnyProcess>> {
        match alias.words() {
            [_, _, id, serial] if alias.creation == self.creation && alias.node == self.node => {
                self.table.get(*id, *serial)
            }
            _ => None,
        }
    }

    /// A message found nobody. As in Erlang that is no error, but it is counted.
    pub(crate) fn count_dropped(&self, why: &'static str) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(node = %self.node, why, "message dropped");
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Delivers a message to a process of this node, which takes it however many wait.
    pub(crate) fn deliver_always(&self, to: &Pid, message: Payload) {
        let process = self.process(to);
        let pushed = process.map_or(Pushed::Ended, |process| process.push_term_as(message, Taking::Always));
        self.delivered(pushed, "no such process");
    }

    /// Counts a message whose sender is not told what became of it.
    #[inline]
    pub(crate) fn delivered(&self, pushed: Pushed, nobody: &'static str) {
        if let Pushed::Taken = pushed {
            return;
        }
        cold_path();
        match pushed {
            Pushed::Taken => {}
            Pushed::Full => self.count_dropped("mailbox full"),
            Pushed::Ended | Pushed::OtherType => self.count_dropped(nobody),
        }
    }

    /// Delivers a relation to a process of this node; gives it back if there is none.
    #[hot(relations)]
    pub(crate) fn deliver_relation(&self, to: &Pid, relation: Relation) -> Result<(), Box<Relation>> {
        let relation = Box::new(relation);
        match self.process(to) {
            Some(process) => process.push_relation(relation),
            None => Err(relation),
        }
    }

    /// Sends a message: moved if the receiver is here and understands it, encoded otherwise.
    pub(crate) fn send<T: Serialize + Send + 'static>(
        &self,
        sender: &Pid,
        to: &Destination,
        message: T,
    ) -> Result<Delivery, EncodeError> {
        let mut message = Some(message);
        if let Some(process) = self.local_process(to) {
            match process.push_value(&mut message) {
                Pushed::Taken => return Ok(Delivery::Done),
                Pushed::Ended => return Ok(Delivery::NoProc),
                Pushed::Full => return Ok(Delivery::Full),
                Pushed::OtherType => {}
            }
        }
        let Some(message) = message else { return Ok(Delivery::Done) };
        self.send_encoded(sender, to, &|writer| crate::etf::serialize(&message, writer))
    }

    /// `gen_server:cast/2`.
    pub(crate) fn cast<T: Serialize + ?Sized>(
        &self,
        sender: &Pid,
        to: &Destination,
        request: &T,
    ) -> Result<Delivery, EncodeError> {
        self.send_encoded(sender, to, &|writer| {
            writer.tuple(2)?;
            writer.atom(&GEN_CAST);
            crate::etf::serialize(request, writer)
        })
    }

    /// Sends a message to go before ordinary ones.
    pub(super) fn send_priority<T: Serialize>(
        &self,
        sender: &Pid,
        to: &Destination,
        message: &T,
    ) -> Result<Delivery, EncodeError> {
        let encode = |writer: &mut Writer| crate::etf::serialize(message, writer);
        self.send_encoded_as(sender, to, &encode, Taking::Priority)
    }

    /// The receiver, if it is a process of this node that is not reached through an alias.
    fn local_process(&self, to: &Destination) -> Option<Arc<dyn AnyProcess>> {
        match to {
            Destination::Pid(pid) => self.process(pid),
            Destination::Name(name) => self.names.get(name),
            Destination::Remote(name, node) if self.is_local(node) => self.names.get(name),
            Destination::Remote(..) | Destination::Alias(_) => None,
        }
    }

    /// Sends a message in its external form.
    pub(super) fn send_encoded(
        &self,
        sender: &Pid,
        to: &Destination,
        encode: Encode<'_>,
    ) -> Result<Delivery, EncodeError> {
        self.send_encoded_as(sender, to, encode, Taking::Message)
    }

    /// Sends a message that a process did not take to another one. Returns whether that has taken it, as far as this node knows.
    pub(super) fn send_fallen(
        &self,
        sender: &Pid,
        to: &Destination,
        encode: Encode<'_>,
    ) -> Result<bool, EncodeError> {
        match self.send_encoded_as(sender, to, encode, Taking::Fallen)? {
            Delivery::Done | Delivery::Busy(_) => Ok(true),
            Delivery::NoProc | Delivery::Full => Ok(false),
        }
    }

    fn send_encoded_as(
        &self,
        sender: &Pid,
        to: &Destination,
        encode: Encode<'_>,
        taking: Taking,
    ) -> Result<Delivery, EncodeError> {
        let (node, target) = self.address(to);
        if self.is_local(node) {
            let message = Payload::from_writer(encode)?;
            let pushed = match &target {
                Target::Alias(alias) => self.deliver_to_alias(alias, message, taking),
                Target::Pid(_) | Target::Name(_) => self
                    .local_process(to)
                    .map_or(Pushed::Ended, |process| process.push_term_as(message, taking)),
            };
            return Ok(match pushed {
                Pushed::Taken => Delivery::Done,
                Pushed::Full => Delivery::Full,
                Pushed::Ended | Pushed::OtherType => Delivery::NoProc,
            });
        }
        let priority = taking == Taking::Priority;
        let control = Control::Send { from: Some(sender.clone()), to: target, message: encode, priority };
        Ok(delivery(self.send_there(node, None, sender, &control, Write::Soon)?))
    }

    /// Sends a message to another node, if there is to be a certain connection then over that one or not at all. Who sends more than one
    /// there within a turn looks for the way once.
    #[hot]
    pub(super) fn send_there(
        &self,
        node: &Atom,
        over: Option<ConnectionId>,
        sender: &Pid,
        control: &Control<Encode<'_>>,
        write: Write,
    ) -> Result<Sent, EncodeError> {
        let way = spare::take_way(self, node);
        let known = way.is_some();
        if let Some(way) = way
            && over.is_none_or(|connection| way.is_over(connection))
        {
            let sent = way.send(self, sender, control, write)?;
            if let Sent::Queued { .. } = sent {
                spare::keep_way(way);
                return Ok(sent);
            }
        }
        let Some(distribution) = self.distribution() else { return Ok(Sent::NoConnection) };
        let sent = match over {
            Some(connection) => distribution.send_over(connection, sender, control)?,
            None => distribution.send(node, Some(sender), None, std::slice::from_ref(control), write)?,
        };
        let link = if known { distribution.link(node) } else { None };
        spare::keep_way(Way::new(self, node.clone(), link));
        Ok(sent)
    }

    /// Sends a message to another node over a certain connection, or not at all: `None` if that does not stand.
    #[inline(always)]
    pub(super) fn send_over(
        &self,
        connection: ConnectionId,
        sender: &Pid,
        to: &Destination,
        encode: Encode<'_>,
    ) -> Result<Option<Delivery>, EncodeError> {
        let (node, to) = self.address(to);
        let control = Control::Send { from: Some(sender.clone()), to, message: encode, priority: false };
        let sent = self.send_there(node, Some(connection), sender, &control, Write::Now);
        // A message, which is dropped without a look at what else it could be.
        if let Control::Send { from, to, .. } = control {
            drop((from, to));
        }
        Ok(match sent? {
            Sent::NoConnection => None,
            sent @ Sent::Queued { .. } => Some(delivery(sent)),
        })
    }

    #[inline(always)]
    fn address<'a>(&'a self, to: &'a Destination) -> (&'a Atom, Target) {
        match to {
            Destination::Pid(pid) => (&pid.node, Target::Pid(pid.clone())),
            Destination::Name(name) => {
                cold_path();
                (&self.node, Target::Name(name.clone()))
            }
            Destination::Remote(name, node) => {
                cold_path();
                (node, Target::Name(name.clone()))
            }
            Destination::Alias(alias) => {
                cold_path();
                (&alias.node, Target::Alias(alias.clone()))
            }
        }
    }

    /// Delivers a message to the process behind an alias, if there is one; whether the alias is active is known to the process
    /// only.
    #[inline]
    pub(crate) fn deliver_to_alias(&self, alias: &Reference, message: Payload, taking: Taking) -> Pushed {
        let process = self.process_of_alias(alias);
        process.map_or(Pushed::Ended, |process| process.push_to_alias(alias, message, taking))
    }

    #[hot(relations)]
    pub(super) fn remote(
        &self,
        node: &Atom,
        sender: &Pid,
        interest: Option<&Pid>,
        control: Control<Encode<'_>>,
        write: Write,
    ) -> Option<ConnectionId> {
        match self.distribution()?.send(node, Some(sender), interest, &[control], write) {
            Ok(Sent::Queued { connection, .. }) => Some(connection),
            Ok(Sent::NoConnection) => None,
            // The only values in these signals are terms that Erlang made, or reasons made of terms.
            Err(error) => {
                tracing::error!(%error, "a signal has no external form");
                None
            }
        }
    }

    /// `link/1`: the first part is the caller's own table.
    pub(super) fn send_link(&self, from: &Pid, to: &Pid) -> Option<ConnectionId> {
        if self.is_local(&to.node) {
            let link = Relation::Link { from: from.clone(), connection: None };
            if self.deliver_relation(to, link).is_err() {
                self.send_link_exit(to, from, &ExitReason::NoProc);
            }
            return None;
        }
        let connection = self.remote(
            &to.node,
            from,
            Some(from),
            Control::Link { from: from.clone(), to: to.clone() },
            Write::Now,
        );
        if connection.is_none() {
            let exit = Relation::LinkExit { from: to.clone(), reason: ExitReason::NoConnection };
            let _ = self.deliver_relation(from, exit);
        }
        connection
    }

    pub(super) fn send_unlink(&self, from: &Pid, to: &Pid, id: u64) {
        if self.is_local(&to.node) {
            let unlink = Relation::Unlink { from: from.clone(), id };
            if self.deliver_relation(to, unlink).is_err() {
                let _ = self.deliver_relation(from, Relation::UnlinkAck { from: to.clone(), id });
            }
        } else if let Some(id) = std::num::NonZeroU64::new(id) {
            self.remote(
                &to.node,
                from,
                None,
                Control::UnlinkId { id, from: from.clone(), to: to.clone() },
                Write::Now,
            );
        }
    }

    pub(crate) fn send_unlink_ack(&self, from: &Pid, to: &Pid, id: u64) {
        if self.is_local(&to.node) {
            let _ = self.deliver_relation(to, Relation::UnlinkAck { from: from.clone(), id });
        } else if let Some(id) = std::num::NonZeroU64::new(id) {
            self.remote(
                &to.node,
                from,
                None,
                Control::UnlinkIdAck { id, from: from.clone(), to: to.clone() },
                Write::Now,
            );
        }
    }

    /// Tells `to` that `from`, which it is linked to, has ended.
    pub(crate) fn send_link_exit(&self, from: &Pid, to: &Pid, reason: &ExitReason) {
        if self.is_local(&to.node) {
            let exit = Relation::LinkExit { from: from.clone(), reason: reason.clone() };
            let _ = self.deliver_relation(to, exit);
        } else {
            let encode = |writer: &mut Writer| crate::etf::serialize(reason, writer);
            let control = Control::Exit { from: from.clone(), to: to.clone(), reason: &encode as Encode<'_> };
            self.remote(&to.node, from, None, control, Write::Now);
        }
    }

    /// `exit/2`.
    pub(crate) fn send_exit(&self, from: &Pid, to: &Pid, reason: &ExitReason) {
        if self.is_local(&to.node) {
            let exit = Relation::Exit { from: from.clone(), reason: reason.clone() };
            let _ = self.deliver_relation(to, exit);
        } else {
            let encode = |writer: &mut Writer| crate::etf::serialize(reason, writer);
            let control = Control::Exit2 {
                from: from.clone(),
                to: Target::Pid(to.clone()),
                reason: &encode as Encode<'_>,
                priority: false,
            };
            self.remote(&to.node, from, None, control, Write::Now);
        }
    }

    /// Sets up a monitor; what is wrong with its target arrives as its DOWN. Returns the connection that it
    /// goes over, and the local process that a name stands for.
    pub(super) fn send_monitor(
        &self,
        from: &Pid,
        target: &Monitored,
        reference: &Reference,
        write: Write,
    ) -> (Option<ConnectionId>, Option<Pid>) {
        let node = target.node();
        let down = |reason| {
            let down = Relation::Down { reference: reference.clone(), reason };
            let _ = self.deliver_relation(from, down);
        };
        if self.is_local(node) {
            let (process, name) = match target {
                Monitored::Process(pid) => (self.process(pid), None),
                Monitored::Name(name, _) => (self.names.get(name), Some(name.clone())),
            };
            let bound = process.as_ref().map(|process| process.pid().clone());
            let watch = Box::new(Relation::Monitor {
                from: from.clone(),
                reference: reference.clone(),
                name,
                connection: None,
            });
            if process.is_none_or(|process| process.push_relation(watch).is_err()) {
                down(ExitReason::NoProc);
            }
            return (None, bound);
        }
        let item = target.item();
        let control = Control::Monitor { from: from.clone(), item, reference: reference.clone() };
        let connection = self.remote(node, from, Some(from), control, write);
        if connection.is_none() {
            down(ExitReason::NoConnection);
        }
        (connection, None)
    }

    /// Sends a call to another node: its monitor, as [`Local::send_monitor`] does, and its request right behind it. Returns the
    /// connection that they go over.
    #[hot(relations)]
    pub(super) fn send_remote_call(
        &self,
        from: &Pid,
        target: &Monitored,
        reference: &Reference,
        to: &Destination,
        encode: Encode<'_>,
    ) -> Result<(Option<ConnectionId>, Delivery), EncodeError> {
        let (node, to) = self.address(to);
        let signals = [
            Control::Monitor { from: from.clone(), item: target.item(), reference: reference.clone() },
            Control::Send { from: Some(from.clone()), to, message: encode, priority: false },
        ];
        let sent = match self.distribution() {
            Some(distribution) => distribution.send(node, Some(from), Some(from), &signals, Write::Now)?,
            None => Sent::NoConnection,
        };
        if let Sent::Queued { connection, .. } = sent {
            return Ok((Some(connection), delivery(sent)));
        }
        let down = Relation::Down { reference: reference.clone(), reason: ExitReason::NoConnection };
        let _ = self.deliver_relation(from, down);
        Ok((None, Delivery::Done))
    }

    #[hot(relations)]
    pub(super) fn send_demonitor(
        &self,
        from: &Pid,
        target: &Monitored,
        bound: Option<&Pid>,
        reference: &Reference,
        write: Write,
    ) {
        let node = target.node();
        if self.is_local(node) {
            let pid = match target {
                Monitored::Process(pid) => Some(pid),
                Monitored::Name(..) => bound,
            };
            if let Some(pid) = pid {
                let demonitor = Relation::Demonitor { from: from.clone(), reference: reference.clone() };
                let _ = self.deliver_relation(pid, demonitor);
            }
        } else {
            let item = target.item();
            let control = Control::Demonitor { from: from.clone(), item, reference: reference.clone() };
            self.remote(node, from, None, control, write);
        }
    }

    /// Tells `to` that `from`, which it monitors (by `name`, if there is one), has ended.
    pub(crate) fn send_down(
        &self,
        from: &Pid,
        name: Option<&Atom>,
        to: &Pid,
        reference: &Reference,
        reason: &ExitReason,
    ) {
        if self.is_local(&to.node) {
            let down = Relation::Down { reference: reference.clone(), reason: reason.clone() };
            let _ = self.deliver_relation(to, down);
        } else {
            let item = name.map_or_else(|| Item::Pid(from.clone()), |name| Item::Name(name.clone()));
            let encode = |writer: &mut Writer| crate::etf::serialize(reason, writer);
            let control = Control::MonitorExit {
                item,
                to: to.clone(),
                reference: reference.clone(),
                reason: &encode as Encode<'_>,
            };
            self.remote(&to.node, from, None, control, Write::Now);
        }
    }
}
