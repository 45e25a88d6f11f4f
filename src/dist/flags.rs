//! Capability flags: what each end of a connection understands.
//!
//! Source: *Distribution Protocol*, "Distribution Flags".

use std::fmt;
use std::ops::{BitAnd, BitOr};

/// A set of distribution flags, as the handshake carries it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u64);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl Flags {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            /// Every flag that has a name here, from the lowest bit up.
            const NAMED: &[(Self, &'static str)] = &[$((Self::$name, stringify!($name))),*];
        }
    };
}

flags! {
    /// The node takes part in the cluster's global name space; a node without it is hidden.
    PUBLISHED = 0;
    /// References of more than one word.
    EXTENDED_REFERENCES = 2;
    /// Monitors of remote processes.
    DIST_MONITOR = 3;
    /// Funs in a form of their own.
    FUN_TAGS = 4;
    /// Monitors of remote processes by registered name.
    DIST_MONITOR_NAME = 5;
    /// NEW_FUN_EXT.
    NEW_FUN_TAGS = 7;
    /// Pids and ports with all their bits.
    EXTENDED_PIDS_PORTS = 8;
    /// EXPORT_EXT.
    EXPORT_PTR_TAG = 9;
    /// BIT_BINARY_EXT.
    BIT_BINARIES = 10;
    /// NEW_FLOAT_EXT.
    NEW_FLOATS = 11;
    /// Unicode in the I/O protocol.
    UNICODE_IO = 12;
    /// Packets begin with a distribution header, which keeps the atom cache.
    DIST_HDR_ATOM_CACHE = 13;
    /// SMALL_ATOM_EXT.
    SMALL_ATOM_TAGS = 14;
    /// Atoms in UTF-8.
    UTF8_ATOMS = 16;
    /// MAP_EXT.
    MAP_TAG = 17;
    /// Creations of 32 bits.
    BIG_CREATION = 18;
    /// SEND_SENDER in place of SEND.
    SEND_SENDER = 19;
    /// Sequential trace labels of any type.
    BIG_SEQTRACE_LABELS = 20;
    /// Exit reasons as payload instead of within the control tuple.
    EXIT_PAYLOAD = 22;
    /// Large messages arrive in fragments.
    FRAGMENTS = 23;
    /// Version 6 of the handshake.
    HANDSHAKE_23 = 24;
    /// UNLINK_ID and UNLINK_ID_ACK in place of UNLINK.
    UNLINK_ID = 25;
    /// Stands for all flags that OTP 25 demands.
    MANDATORY_25_DIGEST = 26;
    /// SPAWN_REQUEST and SPAWN_REPLY.
    SPAWN = 32;
    /// A request, not a capability: the initiator asks for a name.
    NAME_ME = 33;
    /// Pids, ports and references of up to 32, 64 and 5 × 32 bits.
    V4_NC = 34;
    /// Process aliases and ALIAS_SEND.
    ALIAS = 35;
    /// ALTACT_SIG_SEND: priority signals.
    ALTACT_SIG = 37;
}

impl Flags {
    /// What OTP 25 demands of a peer.
    pub const MANDATORY_25: Self = Self(0x0107_0F94);
    /// What OTP 26 and every later release so far demand of a peer.
    pub const MANDATORY_26: Self = Self(0x4_0307_0F94);
    /// All that this node implements, as a hidden node.
    pub const HIDDEN: Self = Self(0x2D_07DF_7FBC);
    /// All that this node implements, as a visible node.
    pub const VISIBLE: Self = Self(0x2D_07DF_7FBD);

    /// Whether all of `flags` are in this set.
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// The flags that this set stands for: MANDATORY_25_DIGEST brings all that OTP 25 demands.
    pub const fn expanded(self) -> Self {
        if self.contains(Self::MANDATORY_25_DIGEST) { Self(self.0 | Self::MANDATORY_25.0) } else { self }
    }

    /// What a connection between two nodes may use: what both of them offer. NAME_ME is a request and not an offer, though OTP's
    /// acceptor repeats it.
    pub const fn effective(mine: Self, theirs: Self) -> Self {
        Self(mine.expanded().0 & theirs.expanded().0 & !Self::NAME_ME.0)
    }

    /// Whether packets begin with a distribution header, if these are the effective flags.
    pub(crate) const fn header(self) -> bool {
        self.0 & (Self::DIST_HDR_ATOM_CACHE.0 | Self::FRAGMENTS.0) != 0
    }

    /// The `mandatory` flags that this set lacks, if it lacks any.
    pub fn missing(self, mandatory: Self) -> Option<MissingFlags> {
        let missing = mandatory.0 & !self.expanded().0;
        (missing != 0).then_some(MissingFlags(Self(missing)))
    }

    /// The names of the flags in this set that have one.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMED.iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| *name)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

impl BitAnd for Flags {
    type Output = Self;

    fn bitand(self, rhs: Self) -> Self {
        Self(self.0 & rhs.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({:#x}", self.0)?;
        for name in self.names() {
            write!(f, " {name}")?;
        }
        f.write_str(")")
    }
}

/// Mandatory flags that a peer lacks. Displays as their names with the release that came to demand each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingFlags(Flags);

impl MissingFlags {
    /// The flags.
    pub fn flags(self) -> Flags {
        self.0
    }
}

impl fmt::Display for MissingFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for bit in 0..u64::BITS {
            let flag = Flags(1 << bit);
            if !self.0.contains(flag) {
                continue;
            }
            f.write_str(separator)?;
            separator = ", ";
            match flag.names().next() {
                Some(name) => f.write_str(name)?,
                None => write!(f, "bit {bit}")?,
            }
            if Flags::MANDATORY_25.contains(flag) {
                f.write_str(" (mandatory since OTP 25)")?;
            } else if Flags::MANDATORY_26.contains(flag) {
                f.write_str(" (mandatory since OTP 26)")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_node_offers_what_otp_25_offers_and_priority_signals() {
        // What OTP 25.2.3 sends.
        assert_eq!(Flags(0xd_07df_7fbd) | Flags::ALTACT_SIG, Flags::VISIBLE);
        assert_eq!(Flags::HIDDEN | Flags::PUBLISHED, Flags::VISIBLE);
        let named = Flags::NAMED.iter().fold(Flags::default(), |all, (flag, _)| all | *flag);
        assert_eq!(named, Flags::VISIBLE | Flags::NAME_ME, "no other bit is set");
    }

    #[test]
    fn one_flag_expands_to_the_mandatory_ones_of_otp_25() {
        assert!(Flags::MANDATORY_25_DIGEST.expanded().contains(Flags::MANDATORY_25));
        assert_eq!(Flags::UNLINK_ID.expanded(), Flags::UNLINK_ID);
        assert_eq!(Flags::MANDATORY_25_DIGEST.missing(Flags::MANDATORY_25), None);
        let missing = Flags::MANDATORY_25_DIGEST.missing(Flags::MANDATORY_26).unwrap();
        assert_eq!(missing.flags(), Flags::UNLINK_ID | Flags::V4_NC);
        assert_eq!(Flags::effective(Flags::VISIBLE, Flags::MANDATORY_25_DIGEST).0, 0x407_0f94 | 0x100_0000);
    }
}
