//! Wall time: a run that hangs within one step never reaches the end of its simulated time.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How much wall time a run may take before it counts as hung.
pub(super) const RUN_LIMIT: Duration = Duration::from_secs(300);

/// Wall time since it was started.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts one.
    #[expect(clippy::disallowed_methods, reason = "how long a run takes, outside of what is simulated")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long ago that was.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

type Running = BTreeMap<u64, (String, Stopwatch)>;

/// Ends the process with exit code 3 when a run takes too long, and says which. Nothing else could: the thread that
/// would notice is the one that hangs.
#[derive(Debug, Clone, Default)]
pub struct Watchdog {
    // What runs, and the number of the next.
    running: Arc<Mutex<(Running, u64)>>,
}

impl Watchdog {
    /// Starts one which gives each run so much wall time.
    pub fn start(limit: Duration) -> Self {
        let watchdog = Self::default();
        // It goes when nobody can run anything under it any more.
        let running = Arc::downgrade(&watchdog.running);
        thread::spawn(move || {
            while let Some(running) = running.upgrade() {
                if let Some(name) = overdue(&lock(&running).0, limit) {
                    // Past the capture of the test harness, which prints nothing of a test that does not end.
                    let text = format!(
                        "\n{name} has taken more than {limit:?} of wall time: something in it never gives way\n"
                    );
                    let _ = std::io::stderr().write_all(text.as_bytes());
                    std::process::exit(3);
                }
                drop(running);
                thread::sleep(Duration::from_millis(200).min(limit));
            }
        });
        watchdog
    }

    /// Runs something under its eyes.
    pub fn watch<T>(&self, scenario: &str, seed: u64, run: impl FnOnce() -> T) -> T {
        let number = {
            let mut running = lock(&self.running);
            running.1 += 1;
            let number = running.1;
            running.0.insert(number, (format!("{scenario}, seed {seed}"), Stopwatch::start()));
            number
        };
        let done = run();
        lock(&self.running).0.remove(&number);
        done
    }
}

fn lock(running: &Mutex<(Running, u64)>) -> MutexGuard<'_, (Running, u64)> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

fn overdue(running: &Running, limit: Duration) -> Option<&str> {
    running.values().find(|(_, since)| since.elapsed() > limit).map(|(name, _)| name.as_str())
}
