//! A disk in memory, which forgets on a loss of power what it was not told to keep.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand_core::Rng;

use crate::world::{BoxFuture, Disk, LogFile, check_name};

/// A disk in memory. It outlives the nodes that have it as the [`Disk`] of their world: clones are the same disk.
///
/// A loss of power leaves each file with what was synced and, of the rest, a part from its beginning, in which a byte may be damaged.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, File>,
    sync_time: Duration,
    fails: bool,
}

#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    synced: usize,
}

/// What a loss of power left of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub name: String,
    /// How many bytes it had, how many of them synced.
    pub had: (usize, usize),
    /// How many it has.
    pub kept: usize,
    /// Where one is damaged.
    pub damaged: Option<usize>,
}

impl MemoryDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it takes to sync, or to replace a file; at first no time.
    pub fn set_sync_time(&self, time: Duration) {
        self.lock().sync_time = time;
    }

    /// Whether from now on all that is asked fails.
    pub fn set_failing(&self, fails: bool) {
        self.lock().fails = fails;
    }

    /// Loses what was not synced, but for what the stream says; the files that had such bytes.
    pub fn lose_power(&self, rng: &mut impl Rng) -> Vec<Torn> {
        let mut below = |end: usize| usize::try_from(rng.next_u64() % (end.max(1) as u64)).unwrap_or(0);
        let mut torn = Vec::new();
        for (name, file) in &mut self.lock().files {
            let had = (file.bytes.len(), file.synced);
            if had.0 == had.1 {
                continue;
            }
            let kept = had.1 + below(had.0 - had.1 + 1);
            file.bytes.truncate(kept);
            let damaged = (kept > had.1 && below(2) == 0).then(|| had.1 + below(kept - had.1));
            if let Some(at) = damaged {
                file.bytes[at] ^= 1 << below(8);
            }
            // It is what is there after the restart.
            file.synced = kept;
            torn.push(Torn { name: name.clone(), had, kept, damaged });
        }
        torn
    }

    fn works(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.fails { Err(io::Error::other("an error of input or output")) } else { Ok(state) }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the disk's time is the runtime's, whatever a node's clock does"
    )]
    async fn wait(&self) {
        let time = self.lock().sync_time;
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
    }
}

impl Disk for MemoryDisk {
    fn open_log<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn LogFile>>> {
        Box::pin(async move {
            check_name(name)?;
            let len = self.works()?.files.entry(name.to_owned()).or_default().bytes.len();
            let log = Log { disk: self.clone(), name: name.to_owned(), len: len as u64, failed: false };
            Ok(Box::new(log) as Box<dyn LogFile>)
        })
    }

    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<u8>>> {
        Box::pin(async move {
            check_name(name)?;
            Ok(self.works()?.files.get(name).ok_or(ErrorKind::NotFound)?.bytes.clone())
        })
    }

    fn replace<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            check_name(name)?;
            self.wait().await;
            let file = File { bytes: bytes.to_vec(), synced: bytes.len() };
            self.works()?.files.insert(name.to_owned(), file);
            Ok(())
        })
    }

    fn list(&self) -> BoxFuture<'_, io::Result<Vec<String>>> {
        Box::pin(async move { Ok(self.works()?.files.keys().cloned().collect()) })
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            check_name(name)?;
            self.works()?.files.remove(name).map(drop).ok_or_else(|| ErrorKind::NotFound.into())
        })
    }
}

struct Log {
    disk: MemoryDisk,
    name: String,
    len: u64,
    failed: bool,
}

impl Log {
    /// Does one thing with the file. Once one fails, all do.
    fn with<T>(&mut self, work: impl FnOnce(&mut File) -> T) -> io::Result<T> {
        if self.failed {
            return Err(io::Error::other("the file has failed before, and must be opened anew"));
        }
        self.failed = true;
        let mut state = self.disk.works()?;
        let file = state.files.get_mut(&self.name).ok_or(ErrorKind::NotFound)?;
        let done = work(file);
        (self.len, self.failed) = (file.bytes.len() as u64, false);
        Ok(done)
    }
}

impl LogFile for Log {
    fn append<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<u64>> {
        Box::pin(async move {
            self.with(|file| {
                let at = file.bytes.len() as u64;
                file.bytes.extend_from_slice(bytes);
                at
            })
        })
    }

    fn sync(&mut self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let len = self.with(|file| file.bytes.len())?;
            // Power may be lost meanwhile.
            self.failed = true;
            self.disk.wait().await;
            self.failed = false;
            self.with(|file| file.synced = file.synced.max(len.min(file.bytes.len())))
        })
    }

    fn truncate(&mut self, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            self.with(|file| {
                file.bytes.truncate(len);
                file.synced = file.synced.min(len);
            })
        })
    }

    fn len(&self) -> u64 {
        self.len
    }
}
