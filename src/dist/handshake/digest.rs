//! The proof that both ends know the cookie.
//!
//! Source: *Distribution Protocol*, "Generating Challenges and Digests".

use std::fmt;

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::message::DigestBytes;

/// The secret that the nodes of a cluster share, as the bytes that are hashed.
pub(super) struct Cookie(Box<[u8]>);

impl Cookie {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The proof for a challenge: the MD5 of the cookie and the challenge in decimal digits.
    pub(super) fn digest(&self, challenge: u32) -> DigestBytes {
        Md5::new().chain_update(&self.0).chain_update(challenge.to_string()).finalize().into()
    }

    /// Whether a proof is the right one, in a time that does not tell how much of it is.
    pub(super) fn proves(&self, challenge: u32, digest: &DigestBytes) -> bool {
        self.digest(challenge).ct_eq(digest).into()
    }
}

impl fmt::Debug for Cookie {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(..)")
    }
}
