//! Registered names: `register/2` and `whereis/1`.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::hint::cold_path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use super::AnyProcess;
use crate::term::{Atom, Pid, text_hash};

/// Why a name was not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Another process has the name.
    #[error("{name} is registered to {pid}")]
    Taken {
        /// The name.
        name: Atom,
        /// Who has it.
        pid: Pid,
    },
    /// A process has at most one name.
    #[error("the process is registered as {0} already")]
    Named(Atom),
    /// The process has ended.
    #[error("the process has ended")]
    NoProc,
    /// The atom `undefined` means "no name".
    #[error("`undefined` cannot be a name")]
    Undefined,
}

/// Hashes atoms that few can choose: names, which the program itself gives, and peers, of which there are as many as connections and
/// handshakes.
#[derive(Default)]
pub(crate) struct TextHasher(u64);

impl Hasher for TextHasher {
    fn write(&mut self, text: &[u8]) {
        // A table looks at the highest bits, too.
        self.0 = u64::from(text_hash(text)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_u8(&mut self, _: u8) {
        // What ends a text, so that two texts in a row are told apart: there is one.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Table = HashMap<Atom, Arc<dyn AnyProcess>, BuildHasherDefault<TextHasher>>;

#[derive(Default)]
pub(crate) struct Names {
    names: RwLock<Table>,
    /// How often that changed. Counted under the lock.
    changes: AtomicU64,
}

/// What a name stood for after so many changes.
pub(crate) struct Found {
    name: Atom,
    changes: u64,
    process: Arc<dyn AnyProcess>,
}

impl Names {
    /// To change them.
    fn change(&self) -> RwLockWriteGuard<'_, Table> {
        let names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        self.changes.fetch_add(1, Ordering::Release);
        names
    }

    pub(crate) fn register(&self, name: Atom, process: Arc<dyn AnyProcess>) -> Result<(), RegisterError> {
        if name == "undefined" {
            return Err(RegisterError::Undefined);
        }
        let mut names = self.change();
        if let Some(other) = names.get(&name) {
            return Err(RegisterError::Taken { name, pid: other.pid().clone() });
        }
        // Under the lock, so that a process that ends meanwhile finds its name and removes it.
        process.shared().set_name(&name)?;
        names.insert(name, process);
        Ok(())
    }

    pub(crate) fn unregister(&self, name: &Atom) -> bool {
        let mut names = self.change();
        let Some(process) = names.remove(name) else { return false };
        process.shared().clear_name();
        true
    }

    /// The process has ended: its name is free, unless another one took it meanwhile.
    pub(super) fn ended(&self, name: &Atom, process: &Pid) {
        let mut names = self.change();
        if names.get(name).is_some_and(|registered| registered.pid() == process) {
            names.remove(name);
        }
    }

    pub(crate) fn get<N: Hash + Eq + ?Sized>(&self, name: &N) -> Option<Arc<dyn AnyProcess>>
    where
        Atom: Borrow<N>,
    {
        self.names.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// As [`Names::get`], for who mostly looks for the name that it has found last.
    #[hot(relations)]
    pub(crate) fn get_again<'a>(
        &self,
        name: &Atom,
        last: &'a mut Option<Found>,
    ) -> Option<&'a Arc<dyn AnyProcess>> {
        let changes = self.changes.load(Ordering::Acquire);
        if !last.as_ref().is_some_and(|last| last.changes == changes && last.name == *name) {
            cold_path();
            let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
            let changes = self.changes.load(Ordering::Relaxed);
            let found = names.get(name).map(|process| Found {
                name: name.clone(),
                changes,
                process: process.clone(),
            });
            drop(names);
            *last = found;
        }
        last.as_ref().map(|last| &last.process)
    }

    #[expect(clippy::disallowed_methods, reason = "the names are put in order")]
    pub(crate) fn all(&self) -> Vec<Atom> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Atom> = names.keys().cloned().collect();
        all.sort();
        all
    }
}
