//! The functions of module `fixture`.

use std::time::Duration;

use beamline::node::Node;
use beamline::process::Context;
use beamline::rpc::{Function, Raise};
use beamline::term::{Atom, BigInt, Pid, Term};

pub(crate) fn export(node: &Node) {
    node.export(Function::new("fixture", "double", |_, number: Term| async move { double(&number) }));
    node.export(Function::new("fixture", "node_name", |cx: Context<Term>| async move {
        Ok(cx.node_name().clone())
    }));
    node.export(Function::new("fixture", "sleep", |cx: Context<Term>, milliseconds: u64| async move {
        cx.world().sleep(Duration::from_millis(milliseconds)).await;
        Ok(Atom::from_static("ok"))
    }));
    node.export(Function::new("fixture", "fail", |_, term| async move { raised(Raise::Error(term)) }));
    node.export(Function::new("fixture", "throw", |_, term| async move { raised(Raise::Throw(term)) }));
    node.export(Function::new("fixture", "exit", |_, term| async move { raised(Raise::Exit(term)) }));
    for function in beamline::observer::functions().into_iter().chain(beamline::global::functions()) {
        node.export(function);
    }
    node.export(Function::new("fixture", "reply_to", |cx: Context<Term>, to: Pid, term: Term| async move {
        // Who has ended gets nothing, as in Erlang.
        let _ = cx.send(to, term);
        Ok(Atom::from_static("ok"))
    }));
    node.export(Function::new("pg", "get_members", |cx: Context<Term>, group: Term| async move {
        Ok(cx.pg("pg").get_members(group))
    }));
}

/// Of any size.
fn double(number: &Term) -> Result<Term, Raise> {
    let bytes = match number {
        Term::Integer(number) => return Ok(BigInt::from(i128::from(*number) * 2).into()),
        Term::BigInt(number) => number.to_bytes_le(),
        _ => return Err(Raise::error(Atom::from_static("badarith"))),
    };
    let (negative, mut magnitude) = bytes;
    let mut carry = 0;
    for byte in &mut magnitude {
        (*byte, carry) = (*byte << 1 | carry, *byte >> 7);
    }
    magnitude.push(carry);
    Ok(BigInt::from_bytes_le(negative, &magnitude).into())
}

fn raised(raise: Raise) -> Result<Term, Raise> {
    Err(raise)
}
