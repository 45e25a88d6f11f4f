//! Values with code or a definition behind them that only Erlang nodes have: funs and native records. They are kept to be compared and sent on.

use super::{Atom, Pid, Terms};

/// A fun.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fun {
    /// `fun Module:Function/Arity`: a name, that any node can call.
    External {
        /// The module.
        module: Atom,
        /// The function.
        function: Atom,
        /// The arity.
        arity: u8,
    },
    /// A fun of a module's code, with what it has bound.
    Internal {
        /// What identifies it.
        head: FunHead,
        /// The values of its free variables.
        free: Terms,
    },
}

/// What identifies an internal fun. All of it is sent on as it came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FunHead {
    /// The arity.
    pub arity: u8,
    /// The MD5 of the module's code.
    pub uniq: [u8; 16],
    /// Its index in the module's table of funs.
    pub index: u32,
    /// The module.
    pub module: Atom,
    /// Its index in an older numbering.
    pub old_index: i64,
    /// The hash of its parse tree.
    pub old_uniq: i64,
    /// The process that made it; since OTP 26 always process 0 of the node.
    pub pid: Pid,
}

/// A native record of OTP 29, by the experimental form that it has on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// The module that defines it.
    pub module: Atom,
    /// Its name.
    pub name: Atom,
    /// Whether other modules may look into it.
    pub exported: bool,
    /// The names of its fields.
    pub fields: Vec<Atom>,
    /// Their values, in the same order.
    pub values: Terms,
}
