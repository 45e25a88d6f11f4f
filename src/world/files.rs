//! The real disk: files of a directory, through the system's calls on threads that may wait.
#![expect(clippy::disallowed_methods, reason = "this is where the real world enters")]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::BoxFuture;
use super::disk::{Disk, LogFile, check_name};

/// What a file is written as before it takes its place; no name of a file begins so.
const NEW: &str = ".new-";

pub(super) struct Directory(pub(super) PathBuf);

/// Does what may wait for the disk where no task waits for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let done = ::tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(io::Error::other("the runtime has shut down")))
}

/// Makes what was done to a directory's names survive. Windows does that by itself, and has no such call.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

impl Directory {
    fn path(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        Ok(self.0.join(name))
    }
}

impl Disk for Directory {
    fn open_log<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Box<dyn LogFile>>> {
        Box::pin(async move {
            let (directory, path) = (self.0.clone(), self.path(name)?);
            let (file, len) = blocking(move || {
                std::fs::create_dir_all(&directory)?;
                let file = OpenOptions::new().append(true).create(true).open(path)?;
                sync_directory(&directory)?;
                let len = file.metadata()?.len();
                Ok((file, len))
            })
            .await?;
            Ok(Box::new(Log { file: Arc::new(file), len, failed: false }) as Box<dyn LogFile>)
        })
    }

    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<u8>>> {
        Box::pin(async move {
            let path = self.path(name)?;
            blocking(move || std::fs::read(path)).await
        })
    }

    fn replace<'a>(&'a self, name: &'a str, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let (directory, path, bytes) = (self.0.clone(), self.path(name)?, bytes.to_vec());
            let new = directory.join(format!("{NEW}{name}"));
            blocking(move || {
                std::fs::create_dir_all(&directory)?;
                let mut file = File::create(&new)?;
                file.write_all(&bytes)?;
                file.sync_all()?;
                std::fs::rename(new, path)?;
                sync_directory(&directory)
            })
            .await
        })
    }

    fn list(&self) -> BoxFuture<'_, io::Result<Vec<String>>> {
        Box::pin(async move {
            let directory = self.0.clone();
            blocking(move || {
                let mut names = Vec::new();
                match std::fs::read_dir(directory) {
                    Ok(entries) => {
                        for entry in entries {
                            let entry = entry?;
                            let name = entry.file_name().into_string().ok();
                            let name = name.filter(|name| check_name(name).is_ok());
                            if let Some(name) = name.filter(|_| entry.path().is_file()) {
                                names.push(name);
                            }
                        }
                    }
                    // It is made with the first file.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
                names.sort();
                Ok(names)
            })
            .await
        })
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let (directory, path) = (self.0.clone(), self.path(name)?);
            blocking(move || {
                std::fs::remove_file(path)?;
                sync_directory(&directory)
            })
            .await
        })
    }
}

struct Log {
    file: Arc<File>,
    len: u64,
    failed: bool,
}

impl Log {
    /// Does one thing with the file. Until that has succeeded, the file counts as failed.
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&File) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        if std::mem::replace(&mut self.failed, true) {
            return Err(io::Error::other("the file has failed before, and must be opened anew"));
        }
        let file = self.file.clone();
        let done = blocking(move || work(&file)).await?;
        self.failed = false;
        Ok(done)
    }
}

impl LogFile for Log {
    fn append<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<u64>> {
        Box::pin(async move {
            let bytes = bytes.to_vec();
            let (at, len) = (self.len, bytes.len() as u64);
            self.with(move |mut file| file.write_all(&bytes)).await?;
            self.len = at + len;
            Ok(at)
        })
    }

    fn sync(&mut self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.with(File::sync_data))
    }

    fn truncate(&mut self, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let len = len.min(self.len);
            self.with(move |file| file.set_len(len)).await?;
            self.len = len;
            Ok(())
        })
    }

    fn len(&self) -> u64 {
        self.len
    }
}
