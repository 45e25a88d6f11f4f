//! How many bytes our signals take on the wire, once the atom cache knows their atoms: what a bare socket must carry to be a fair floor.

use beamline::dist::channel::{Outgoing, Sender};
use beamline::dist::{Control, Flags, Item, Target};
use beamline::term::{Atom, Pid, Reference, Term};
use bytes::Bytes;

fn pid(node: &'static str) -> Pid {
    Pid { node: Atom::from_static(node), id: 1, serial: 0, creation: 1 }
}

/// A pid of the calling node.
pub fn client() -> Pid {
    pid("bench@127.0.0.1")
}

/// A pid of the node that is called.
pub fn server() -> Pid {
    pid("peer@127.0.0.1")
}

/// The request and the reply of a call to a pid, whose monitor stands from the call before it.
pub fn call_len(term: &Term) -> (usize, usize) {
    let (request, reply) = call(Target::Pid(server()), term);
    (sent_len(&[request]), sent_len(&[reply]))
}

/// As [`call_len`], of a call to a name, which has a monitor of its own and sends a demonitor.
pub fn call_to_name_len(term: &Term) -> (usize, usize) {
    let (from, reference) = (client(), reference());
    let item = Item::Name(Atom::from_static("echo_0"));
    let (request, reply) = call(Target::Name(Atom::from_static("echo_0")), term);
    let request = [
        Control::Monitor { from: from.clone(), item: item.clone(), reference: reference.clone() },
        request,
        Control::Demonitor { from, item, reference },
    ];
    (sent_len(&request), sent_len(&[reply]))
}

fn reference() -> Reference {
    Reference::new(client().node, 1, &[1, 0, 1, 0]).expect("a few words")
}

fn call(to: Target, term: &Term) -> (Control<Term>, Control<Term>) {
    let (client, reference) = (client(), reference());
    let tag = Term::list_with_tail(vec![Term::atom("alias")], reference.clone().into());
    let from = Term::tuple([client.clone().into(), tag.clone()]);
    let call = Term::tuple([Term::atom("$gen_call"), from, term.clone()]);
    let reply = Term::tuple([tag, term.clone()]);
    (send(client, to, call), send(server(), Target::Alias(reference), reply))
}

/// A cast to a name.
pub fn cast_len(term: &Term) -> usize {
    let message = Term::tuple([Term::atom("$gen_cast"), term.clone()]);
    sent_len(&[send(client(), Target::Name(Atom::from_static("echo_0")), message)])
}

fn send(from: Pid, to: Target, message: Term) -> Control<Term> {
    Control::Send { from: Some(from), to, message, priority: false }
}

fn sent_len(signals: &[Control<Term>]) -> usize {
    let mut sender = Sender::new(Flags::VISIBLE);
    let mut len = 0;
    // The second time, all atoms are in the cache.
    for _ in 0..2 {
        for signal in signals {
            let outgoing = Outgoing::encode(Flags::VISIBLE, None, signal, |term, writer| writer.term(term));
            sender.push(outgoing.expect("it has an external form"));
        }
        len = sender.transmit(usize::MAX).iter().map(Bytes::len).sum();
    }
    len
}
