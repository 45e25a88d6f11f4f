//! Simulated randomness: each stream is a function of the seed, the node, its incarnation and the purpose.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use beamline::world::Entropy;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use crate::trace::Fnv;

pub(crate) struct NodeEntropy {
    seed: u64,
    node: String,
    // How often each label was asked for: two streams with one label differ, as they do in production.
    forks: Mutex<BTreeMap<String, u64>>,
}

impl NodeEntropy {
    /// `node` includes the incarnation.
    pub(crate) fn new(seed: u64, node: &str) -> Self {
        Self { seed, node: node.to_owned(), forks: Mutex::default() }
    }
}

impl Entropy for NodeEntropy {
    fn fork(&self, label: &str) -> ChaCha8Rng {
        let nth = {
            let mut forks = self.forks.lock().unwrap_or_else(PoisonError::into_inner);
            let count = forks.entry(label.to_owned()).or_default();
            *count += 1;
            *count
        };
        let mut hash = Fnv::default();
        for part in [&self.seed.to_be_bytes()[..], self.node.as_bytes(), label.as_bytes(), &nth.to_be_bytes()]
        {
            hash.write(&(part.len() as u64).to_be_bytes());
            hash.write(part);
        }
        ChaCha8Rng::seed_from_u64(hash.0)
    }
}
