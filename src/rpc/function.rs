//! Rust functions under Erlang names.

use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::etf::{from_term, to_term};
use crate::process::{Context, Exported, Invocation, NoValue, Outcome, Raise, Run};
use crate::term::{Atom, Term};
use crate::world::BoxFuture;

/// A function that other nodes may run, once a node [exports](crate::node::Node::export) it: by `rpc`, `erpc`, or as the body of a process that they
/// spawn.
///
/// It is given the process that it runs in, as every function of Erlang's runs in one, and its arguments, each of a type that its term is
/// decoded into ([the mapping](crate::etf#rust-types-as-terms)). Its arity is the number of the arguments, of which there are up to eight.
/// Arguments that do not decode are answered `function_clause`, as where no clause of an Erlang function fits; a panic is an error
/// `{rust_panic, Text}`.
///
/// ```
/// # use beamline::{node::Node, process::Raise, rpc::Function, term::Atom};
/// # fn example(node: &Node) {
/// node.export(Function::new("shop", "price", |_, what: Atom, count: u32| async move {
///     match what.as_str() {
///         "tea" => Ok(3 * count),
///         _ => Err(Raise::error(Atom::from("unknown"))),
///     }
/// }));
/// // rpc:call('shop@127.0.0.1', shop, price, [tea, 2]) is 6.
/// # }
/// ```
#[derive(Clone)]
pub struct Function(pub(crate) Exported);

impl Function {
    /// A function that all nodes may run.
    pub fn new<A>(module: impl Into<Atom>, name: impl Into<Atom>, function: impl Callable<A>) -> Self {
        let arity = function.arity();
        let run: Run = Arc::new(move |invocation| function.call(invocation));
        Self(Exported { module: module.into(), function: name.into(), arity, nodes: None, run })
    }

    /// Only these nodes may run it; for all others it is not there.
    #[must_use]
    pub fn only(mut self, nodes: impl IntoIterator<Item = impl Into<Atom>>) -> Self {
        self.0.nodes = Some(nodes.into_iter().map(Into::into).collect());
        self
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Function({}:{}/{})", self.0.module, self.0.function, self.0.arity)
    }
}

/// An `async` function of a [`Context`] and up to eight arguments, which returns `Result<R, Raise>` with an `R` that can be a term. It is implemented for
/// all of them.
pub trait Callable<A>: Send + Sync + 'static {
    #[doc(hidden)]
    fn arity(&self) -> usize;

    #[doc(hidden)]
    #[expect(private_interfaces, reason = "it is sealed: nobody else implements it")]
    fn call(&self, invocation: Invocation) -> BoxFuture<'static, Outcome>;
}

fn argument<T: DeserializeOwned>(arguments: &mut std::slice::Iter<'_, Term>) -> Option<T> {
    from_term(arguments.next()?).ok()
}

fn outcome<R: Serialize>(returned: Result<R, Raise>) -> Outcome {
    match returned {
        Ok(value) => to_term(&value).map_err(|error| NoValue::Raised(Raise::error(error.to_string()))),
        Err(raise) => Err(NoValue::Raised(raise)),
    }
}

macro_rules! callable {
    ($($argument:ident)*) => {
        impl<F, Running, R, $($argument),*> Callable<($($argument,)*)> for F
        where
            F: Fn(Context<Term> $(, $argument)*) -> Running + Send + Sync + 'static,
            Running: Future<Output = Result<R, Raise>> + Send + 'static,
            R: Serialize + 'static,
            $($argument: DeserializeOwned,)*
        {
            fn arity(&self) -> usize {
                let names: &[&str] = &[$(stringify!($argument)),*];
                names.len()
            }

            #[expect(private_interfaces, reason = "it is sealed")]
            #[allow(unused_mut, unused_variables, non_snake_case, reason = "there may be no arguments; they are named as their types")]
            fn call(&self, invocation: Invocation) -> BoxFuture<'static, Outcome> {
                let mut arguments = invocation.arguments.iter();
                $(
                    let Some($argument) = argument::<$argument>(&mut arguments) else {
                        return Box::pin(async { Err(NoValue::NoClause(invocation.arguments)) });
                    };
                )*
                let running = self(invocation.cx $(, $argument)*);
                Box::pin(async move { outcome(running.await) })
            }
        }
    };
}

callable!();
callable!(A1);
callable!(A1 A2);
callable!(A1 A2 A3);
callable!(A1 A2 A3 A4);
callable!(A1 A2 A3 A4 A5);
callable!(A1 A2 A3 A4 A5 A6);
callable!(A1 A2 A3 A4 A5 A6 A7);
callable!(A1 A2 A3 A4 A5 A6 A7 A8);
