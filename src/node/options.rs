//! What a node is told at its start.

use std::collections::BTreeMap;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use crate::dist::{Flags, channel};
use crate::epmd::EpmdOptions;
use crate::global;
use crate::term::{Atom, Term};
#[cfg(feature = "tls")]
use crate::tls;

/// The largest part of an idle connection's time that OTP's `net_ticktime` default gives a peer.
const NET_TICKTIME: Duration = Duration::from_secs(60);
const NET_SETUPTIME: Duration = Duration::from_secs(7);

/// A node's settings and limits; [`Builder`](super::Builder) documents each.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) cookie: String,
    pub(super) cookies: BTreeMap<Atom, String>,
    pub(super) hidden: bool,
    pub(super) global: Option<global::Options>,
    pub(super) epmd: EpmdOptions,
    pub(super) listen_host: String,
    pub(super) listen_port: u16,
    pub(super) net_ticktime: Duration,
    pub(super) net_tickintensity: u32,
    pub(super) net_setuptime: Duration,
    pub(super) handshakes_max: u64,
    pub(super) processes_max: usize,
    pub(super) pending_bytes_max: usize,
    pub(super) dist_buf_busy_limit: usize,
    /// Zero if it is off.
    pub(super) busy_poll: Duration,
    /// Zero if there is none.
    pub(super) watchdog: Duration,
    pub(super) env: BTreeMap<Atom, Term>,
    pub(super) shutdown_timeout: Duration,
    pub(super) channel: channel::Limits,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<Arc<tls::Endpoint>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cookie: String::new(),
            cookies: BTreeMap::new(),
            hidden: false,
            global: None,
            epmd: EpmdOptions::default(),
            listen_host: "0.0.0.0".to_owned(),
            listen_port: 0,
            net_ticktime: NET_TICKTIME,
            net_tickintensity: 4,
            net_setuptime: NET_SETUPTIME,
            handshakes_max: 1024,
            processes_max: 1 << 24,
            pending_bytes_max: 64 << 20,
            dist_buf_busy_limit: 1 << 20,
            busy_poll: Duration::ZERO,
            watchdog: Duration::ZERO,
            env: BTreeMap::new(),
            shutdown_timeout: Duration::from_secs(30),
            channel: channel::Limits::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl Options {
    pub(super) fn flags(&self) -> Flags {
        if self.hidden { Flags::HIDDEN } else { Flags::VISIBLE }
    }

    /// The cookie that is held for a peer, as the Latin-1 bytes that the digest takes.
    pub(super) fn cookie_for(&self, peer: &Atom) -> &[u8] {
        self.cookies.get(peer).unwrap_or(&self.cookie).as_bytes()
    }
}
