//! The world of a test: the runtime's paused time and a seed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use tokio::time::Instant;

use crate::world::{Clock, Entropy, Mono};

/// What the wall clock shows when a test begins, since 1970: 1 January 2026, so that no test depends on its day.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// The runtime's clock, which is paused: it moves when there is nothing else to do.
pub(super) struct TestClock {
    start: Instant,
}

impl TestClock {
    /// # Panics
    /// If the runtime's time is not paused.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "what tells paused time from real time is to look at both")]
    pub(super) fn new() -> Self {
        let (start, real) = (Instant::now(), std::time::Instant::now());
        while real.elapsed() < Duration::from_micros(1) {
            std::hint::spin_loop();
        }
        assert!(
            Instant::now() == start,
            "a TestNode lives on virtual time: write #[tokio::test(start_paused = true)], and have tokio's feature \
             `test-util` among the dev-dependencies"
        );
        Self { start }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock of a test's world")]
    pub(super) fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.start)
    }
}

impl Clock for TestClock {
    fn mono(&self) -> Mono {
        Mono::default() + self.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + EPOCH + self.elapsed()
    }
}

/// The randomness of one node: each stream is a function of the seed, the node, what it is for, and how often that was asked for.
pub(super) struct TestEntropy {
    pub(super) seed: u64,
    pub(super) node: String,
    pub(super) forks: Mutex<BTreeMap<String, u64>>,
}

impl Entropy for TestEntropy {
    fn fork(&self, label: &str) -> ChaCha8Rng {
        let count = {
            let mut forks = self.forks.lock().unwrap_or_else(PoisonError::into_inner);
            let count = forks.entry(label.to_owned()).or_default();
            *count += 1;
            *count
        };
        let mut seed = [0; 32];
        let words = [self.seed, fnv(&self.node), fnv(label), count];
        for (place, word) in seed.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        ChaCha8Rng::from_seed(seed)
    }
}

/// FNV-1a: the same in every release of Rust.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}
