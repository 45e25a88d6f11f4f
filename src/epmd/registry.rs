//! Who is registered, and who was: the daemon's state, without its sockets.

use std::collections::{BTreeMap, VecDeque};

use super::message::{EXTRA_LEN_MAX, NAME_CHARS_MAX, Registration, write_active, write_name, write_unused};

/// A creation below this was given out before creations had 32 bits, and has a meaning of its own.
pub const CREATION_MIN: u32 = 4;

/// What a registry refuses to grow past.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RegistryLimits {
    /// Names registered at a time; one more is refused as a taken name is. At 2 kB a name, the default holds
    /// 8 MB at most.
    pub names: usize,
    /// Names remembered once they are gone, so that the next node of that name gets a new creation; past it the
    /// oldest is forgotten. OTP's daemon remembers 1000.
    pub gone: usize,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self { names: 4096, gone: 1000 }
    }
}

/// Why a registration is refused. The daemon's answer does not tell: it is result 1 for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// A living node has that name.
    #[error("the name is taken")]
    Taken,
    /// The name is no UTF-8.
    #[error("the name is not UTF-8")]
    NotUtf8,
    /// The name has more than 255 characters.
    #[error("the name has {chars} characters, {NAME_CHARS_MAX} are allowed")]
    TooLong {
        /// How many it has.
        chars: usize,
    },
    /// There are more than 1020 bytes of extra.
    #[error("the extra has {len} bytes, {EXTRA_LEN_MAX} are allowed")]
    ExtraTooLong {
        /// How many there are.
        len: usize,
    },
    /// As many nodes are registered as may be.
    #[error("{names} names are registered, no more are taken")]
    Full {
        /// How many there are.
        names: usize,
    },
}

#[derive(Debug)]
struct Active {
    registration: Registration,
    connection: u64,
    creation: u32,
    // Counts registrations, because the daemon lists the youngest first.
    order: u64,
}

#[derive(Debug)]
struct Gone {
    name: Vec<u8>,
    port: u16,
    connection: u64,
    creation: u32,
}

/// The names of one host's nodes.
#[derive(Debug, Default)]
pub struct Registry {
    limits: RegistryLimits,
    active: BTreeMap<Vec<u8>, Active>,
    gone: VecDeque<Gone>,
    registered: u64,
}

impl Registry {
    /// An empty registry.
    pub fn new(limits: RegistryLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Registers a node that asks on `connection` and returns its creation: one more than the last node of that
    /// name had, or `fresh` if none is remembered, which should be one that no daemon before this one gave out.
    ///
    /// # Errors
    /// If the name is taken or is none, or there are too many.
    pub fn register(
        &mut self,
        connection: u64,
        registration: Registration,
        fresh: u32,
    ) -> Result<u32, Refused> {
        let chars = std::str::from_utf8(&registration.name).map_err(|_| Refused::NotUtf8)?.chars().count();
        if chars > NAME_CHARS_MAX {
            return Err(Refused::TooLong { chars });
        }
        let extra = registration.extra.len();
        if extra > EXTRA_LEN_MAX {
            return Err(Refused::ExtraTooLong { len: extra });
        }
        if self.active.contains_key(&registration.name) {
            return Err(Refused::Taken);
        }
        if self.active.len() >= self.limits.names {
            return Err(Refused::Full { names: self.active.len() });
        }
        let former = self.gone.iter().position(|gone| gone.name == registration.name);
        let creation = match former.and_then(|at| self.gone.remove(at)) {
            Some(gone) => gone.creation.wrapping_add(1),
            None => fresh,
        }
        .max(CREATION_MIN);
        self.registered += 1;
        let active = Active { connection, creation, order: self.registered, registration };
        self.active.insert(active.registration.name.clone(), active);
        Ok(creation)
    }

    /// Unregisters the node if `connection` is the one that it registered on, and says whether it was.
    pub fn unregister(&mut self, name: &[u8], connection: u64) -> bool {
        if self.active.get(name).is_none_or(|active| active.connection != connection) {
            return false;
        }
        self.stop(name).is_some()
    }

    /// Unregisters the node of that name, if there is one, and returns the connection that it registered on.
    pub fn stop(&mut self, name: &[u8]) -> Option<u64> {
        let (name, active) = self.active.remove_entry(name)?;
        let Active { registration, connection, creation, .. } = active;
        self.gone.push_back(Gone { name, port: registration.port, connection, creation });
        while self.gone.len() > self.limits.gone {
            self.gone.pop_front();
        }
        Some(connection)
    }

    /// The node of that name.
    pub fn port_please(&self, name: &[u8]) -> Option<&Registration> {
        self.active.get(name).map(|active| &active.registration)
    }

    /// How many nodes are registered.
    pub fn len(&self) -> usize {
        self.active.len()
    }

    /// Whether no node is registered.
    pub fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// The answer to NAMES of a daemon on this port.
    pub fn names(&self, epmd_port: u16) -> Vec<u8> {
        let mut out = u32::from(epmd_port).to_be_bytes().to_vec();
        for active in self.youngest_first() {
            write_name(&mut out, &active.registration);
        }
        out
    }

    /// The answer to DUMP of a daemon on this port.
    pub fn dump(&self, epmd_port: u16) -> Vec<u8> {
        let mut out = u32::from(epmd_port).to_be_bytes().to_vec();
        for active in self.youngest_first() {
            write_active(&mut out, &active.registration, active.connection);
        }
        for gone in &self.gone {
            write_unused(&mut out, &gone.name, gone.port, gone.connection);
        }
        out
    }

    fn youngest_first(&self) -> Vec<&Active> {
        let mut all: Vec<_> = self.active.values().collect();
        all.sort_by_key(|active| std::cmp::Reverse(active.order));
        all
    }
}

#[cfg(test)]
mod tests;
