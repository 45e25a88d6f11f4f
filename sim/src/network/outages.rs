//! What is done to the wires.

use std::io::ErrorKind;

use super::tcp::{EPMD_PORT, End, HostId, State};
use super::wires::Wires;

impl Wires {
    pub(crate) fn cut(&self, from: &str, to: &str) {
        self.with(|state| {
            if let Some(wire) = state.wire(from, to) {
                state.cut(wire);
            }
        });
    }

    pub(crate) fn mend(&self, one: &str, other: &str) {
        self.with(|state| {
            if let Some((one, other)) = state.wire(one, other) {
                state.mend(&[(one, other), (other, one)]);
            }
        });
    }

    pub(crate) fn mend_all(&self) {
        self.with(|state| {
            let cuts: Vec<_> = state.cuts.iter().copied().collect();
            state.mend(&cuts);
        });
    }

    pub(crate) fn partition(&self, groups: &[Vec<String>]) {
        self.with(|state| {
            let group_of = |state: &State, id: HostId| {
                groups.iter().position(|group| group.contains(&state.hosts[id].name))
            };
            let mut whole = Vec::new();
            for from in 0..state.hosts.len() {
                for to in (0..state.hosts.len()).filter(|to| *to != from) {
                    let group = group_of(state, from);
                    if group.is_some() && group == group_of(state, to) {
                        whole.push((from, to));
                    } else {
                        state.cut((from, to));
                    }
                }
            }
            state.mend(&whole);
        });
    }

    pub(crate) fn reset(&self, one: &str, other: &str) {
        self.with(|state| {
            let Some((one, other)) = state.wire(one, other) else { return };
            for conn in state.between_hosts(one, other) {
                state.reset(conn);
            }
        });
    }

    pub(crate) fn half_open(&self, gone: &str, left: &str) {
        self.with(|state| {
            let Some((gone, left)) = state.wire(gone, left) else { return };
            for conn in state.between_hosts(gone, left) {
                let side = usize::from(state.conns[&conn][0].host != gone);
                state.forget_sent(conn, side);
                state.fail(conn, side, ErrorKind::ConnectionReset, "half-open");
            }
        });
    }

    pub(crate) fn set_bandwidth(&self, from: &str, to: &str, bytes_per_ms: Option<u32>) {
        self.with(|state| {
            let Some(wire) = state.wire(from, to) else { return };
            match bytes_per_ms {
                Some(limit) => {
                    state.limits.insert(wire, limit.max(1));
                }
                None => {
                    state.limits.remove(&wire);
                    state.free_at.remove(&wire);
                    if !state.cuts.contains(&wire) {
                        state.send_again(&[wire]);
                    }
                }
            }
        });
    }

    pub(crate) fn set_latency(&self, one: &str, other: &str, latency: (u32, u32)) {
        self.with(|state| {
            if let Some((one, other)) = state.wire(one, other) {
                state.latencies.insert((one.min(other), one.max(other)), latency);
            }
        });
    }

    pub(crate) fn set_chunk(&self, host: &str, max_len: Option<u32>) {
        self.with(|state| {
            if let Some(id) = state.host(host) {
                state.hosts[id].chunk = max_len.map(|len| usize::try_from(len).unwrap_or(usize::MAX).max(1));
            }
        });
    }

    pub(crate) fn set_epmd(&self, host: &str, up: bool) {
        self.with(|state| {
            let Some(id) = state.host(host) else { return };
            state.hosts[id].epmd_down = !up;
            if up {
                return;
            }
            let of_epmd = |ends: &[End; 2]| ends[1].host == id && ends[1].local.port() == EPMD_PORT;
            let conns: Vec<_> =
                state.conns.iter().filter(|(_, ends)| of_epmd(ends)).map(|(conn, _)| *conn).collect();
            for conn in conns {
                for side in 0..2 {
                    state.forget_sent(conn, side);
                    state.fail(conn, side, ErrorKind::ConnectionReset, "epmd down");
                }
            }
        });
    }

    /// A process on the host is gone: all of them, or the one of this incarnation.
    pub(crate) fn killed(&self, host: &str, owner: Option<u32>) {
        self.with(|state| state.end_programs(host, owner, false));
    }

    /// The host is gone, in silence.
    pub(crate) fn power_lost(&self, host: &str) {
        self.with(|state| {
            state.end_programs(host, None, true);
            if let Some(id) = state.host(host) {
                state.hosts[id].powered = false;
            }
        });
    }

    /// The host is there.
    pub(crate) fn powered(&self, host: &str) {
        self.with(|state| {
            let Some(id) = state.host(host) else { return };
            state.hosts[id].powered = true;
            let wires: Vec<_> = (0..state.hosts.len()).map(|from| (from, id)).collect();
            let whole: Vec<_> = wires.into_iter().filter(|wire| !state.cuts.contains(wire)).collect();
            state.send_again(&whole);
        });
    }

    /// Ends all that was done, but for hosts without power.
    pub(crate) fn heal(&self) {
        self.mend_all();
        self.with(|state| {
            let limited: Vec<_> = state.limits.keys().copied().collect();
            state.limits.clear();
            state.free_at.clear();
            state.latencies.clear();
            state.send_again(&limited);
            for host in &mut state.hosts {
                (host.chunk, host.epmd_down) = (None, false);
            }
            for end in state.conns.values_mut().flatten() {
                end.reset_next = false;
            }
        });
    }
}
