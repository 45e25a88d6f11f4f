//! Registered names: `register/2` and `whereis/1`.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

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

#[derive(Default)]
pub(crate) struct Names {
    names: RwLock<HashMap<Atom, Arc<dyn AnyProcess>, BuildHasherDefault<TextHasher>>>,
}

impl Names {
    pub(crate) fn register(&self, name: Atom, process: Arc<dyn AnyProcess>) -> Result<(), RegisterError> {
        if name == "undefined" {
            return Err(RegisterError::Undefined);
        }
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = names.get(&name) {
            return Err(RegisterError::Taken { name, pid: other.pid().clone() });
        }
        // Under the lock, so that a process that ends meanwhile finds its name and removes it.
        process.shared().set_name(&name)?;
        names.insert(name, process);
        Ok(())
    }

    pub(crate) fn unregister(&self, name: &Atom) -> bool {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let Some(process) = names.remove(name) else { return false };
        process.shared().clear_name();
        true
    }

    /// The process has ended: its name is free, unless another one took it meanwhile.
    pub(super) fn ended(&self, name: &Atom, process: &Pid) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
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

    #[expect(clippy::disallowed_methods, reason = "the names are put in order")]
    pub(crate) fn all(&self) -> Vec<Atom> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Atom> = names.keys().cloned().collect();
        all.sort();
        all
    }
}
