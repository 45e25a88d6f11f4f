//! What a node keeps: files of one directory, by name.

use std::io;

use super::BoxFuture;

/// A file that grows at its end. Futures of one that are dropped before they are ready leave it, as an error does, in a state that nobody
/// knows: from then on it fails all that is asked, until it is opened anew.
pub trait LogFile: Send {
    /// Writes at the end; the length before, which is where the bytes are. They survive the end of the process, and what survives a loss of power
    /// before [`sync`](Self::sync) is a part from their beginning, of which some may be damaged.
    fn append<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<u64>>;

    /// Makes all that was done survive a loss of power. An error means that nobody knows what does: it must not be tried again.
    fn sync(&mut self) -> BoxFuture<'_, io::Result<()>>;

    /// Cuts off what is past `len` bytes.
    fn truncate(&mut self, len: u64) -> BoxFuture<'_, io::Result<()>>;

    /// How many bytes there are.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A directory of files. A name is a single component of a path, does not begin with a dot, and has up to [`NAME_MAX`] bytes; others are
/// refused with [`InvalidInput`](io::ErrorKind::InvalidInput).
pub trait Disk: Send + Sync {
    /// Opens a file to append to; makes it if there is none.
    fn open_log<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn LogFile>>>;

    /// All of a file's bytes; [`NotFound`](io::ErrorKind::NotFound) if there is none.
    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<u8>>>;

    /// Puts a file in another's place, if there is another, as one step: whatever happens, one of the two is there, whole. When it is done, the new one
    /// survives a loss of power.
    fn replace<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>>;

    /// The names of all files, in order.
    fn list(&self) -> BoxFuture<'_, io::Result<Vec<String>>>;

    /// Removes a file; [`NotFound`](io::ErrorKind::NotFound) if there is none.
    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<()>>;
}

/// How long the name of a file may be, in bytes.
pub const NAME_MAX: usize = 200;

/// Whether a file may have this name.
pub(crate) fn check_name(name: &str) -> io::Result<()> {
    let component = !name.contains(['/', '\\', ':', '\0']);
    if component && !name.is_empty() && !name.starts_with('.') && name.len() <= NAME_MAX {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{name:?} is no name of a file of a node's disk"),
    ))
}
