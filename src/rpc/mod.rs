//! Remote procedure calls: OTP's `rpc` and `erpc`, both ways.
//!
//! **From other nodes**, nothing can be run but what was [exported](crate::node::Node::export). Then `rpc:call/4`, `cast`, `multicall`, `async_call`,
//! `block_call` and all of `erpc` run it, each in a process of its own whose group leader is the caller's, and so does
//! `erlang:spawn/4` and its kin, which may link to and monitor that process. A [`Function`] may be kept to certain nodes.
//!
//! | the function | `erpc:call` | `rpc:call` |
//! |---|---|---|
//! | returns `Ok(V)` | `V` | `V` |
//! | returns `Err(`[`Raise::error`]`(R))` | `error:{exception, R, Stack}` | `{badrpc, {'EXIT', {R, Stack}}}` |
//! | returns `Err(`[`Raise::exit`]`(R))` | `exit:{exception, R}` | `{badrpc, {'EXIT', R}}` |
//! | returns `Err(`[`Raise::throw`]`(T))` | `throw:T` | `T` |
//! | is not exported, or not for that node | `error:{exception, undef, [{M, F, Args, []}]}` | `{badrpc, {'EXIT', {undef, [{M, F, Args, []}]}}}` |
//! | cannot decode its arguments | `error:{exception, function_clause, [{M, F, Args, []}]}` | likewise |
//! | panics | `error:{exception, {rust_panic, Text}, Stack}` | likewise |
//!
//! C and Java nodes, and `rpc:block_call`, use the registered process `rex` instead, which answers them likewise.
//!
//! **To other nodes**, [`Rpc`] calls any function of an Erlang node, and the exported ones of one of this library;
//! [`Context::spawn_request`] spawns a process there.
//!
//! [`Raise::error`]: crate::process::Raise::error
//! [`Raise::exit`]: crate::process::Raise::exit
//! [`Raise::throw`]: crate::process::Raise::throw
//!
//! Source: *erpc* and *rpc* in kernel.

mod client;
mod function;
mod server;
#[cfg(test)]
mod tests;

pub use self::client::{Rpc, RpcError};
pub use self::function::{Callable, Function};
pub(crate) use self::server::start;

pub use crate::process::Raise;

use crate::process::{Context, ProcessMessage};
use crate::term::Atom;

impl<M: ProcessMessage> Context<M> {
    /// The functions of another node. What they print comes to the group leader of this process.
    pub fn rpc(&self, node: impl Into<Atom>) -> Rpc {
        Rpc::new(self.shared().local().clone(), Some(self.group_leader()), node.into())
    }
}
