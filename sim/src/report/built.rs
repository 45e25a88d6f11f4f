//! Of which program a report is: the same seed is the same run only in the same program.

use std::fmt::{self, Display};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::trace::Fnv;

/// A report's header: all that another day or another machine would have otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// When the report was written, in UTC.
    pub written: String,
    /// The commit that is checked out where the program runs, with `+` if files were changed since.
    pub commit: Option<String>,
    /// A hash of the lock file there.
    pub lock_file: Option<String>,
    /// The compiler.
    pub rustc: String,
    /// What the program was built for and how.
    pub features: Vec<String>,
}

impl Header {
    /// Of this program, here and now.
    pub fn here() -> Self {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let unstable = if cfg!(tokio_unstable) { "tokio_unstable" } else { "no tokio_unstable" };
        let system = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        Self {
            written: utc(wall()),
            commit: commit(),
            lock_file: lock_file(),
            rustc: env!("BEAMLINE_SIM_RUSTC").to_owned(),
            features: vec![profile.to_owned(), unstable.to_owned(), system],
        }
    }
}

impl Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || "unknown".to_owned();
        let (commit, lock) =
            (self.commit.clone().unwrap_or_else(unknown), self.lock_file.clone().unwrap_or_else(unknown));
        writeln!(f, "commit         {commit}, lock file {lock}")?;
        writeln!(f, "built          {}, {}", self.rustc, self.features.join(", "))?;
        writeln!(f, "written        {}", self.written)
    }
}

#[expect(clippy::disallowed_methods, reason = "a report says when it was written, outside of any simulation")]
fn wall() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn commit() -> Option<String> {
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { commit } else { commit + "+" })
}

fn lock_file() -> Option<String> {
    let here = std::env::current_dir().ok()?;
    let lock = here.ancestors().map(|folder| folder.join("Cargo.lock")).find(|path| Path::exists(path))?;
    let mut hash = Fnv::default();
    hash.write(&std::fs::read(lock).ok()?);
    Some(format!("{:016x}", hash.0))
}

/// A time since 1970 as ISO 8601 has it.
pub(super) fn utc(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let (mut year, mut days) = (1970, seconds / 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}
