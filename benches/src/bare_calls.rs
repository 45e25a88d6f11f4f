//! Calls over loopback by a bare program: packets of the protocol, written and read by the codec, a task that reads at each end, one that
//! serves and one that calls, tokio's channels between them, and a deadline. No processes: no names, links, monitors, supervision.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use beamline::dist::channel::{Limits, Outgoing, OutgoingError, Received, Receiver, Sender};
use beamline::dist::{Control, Flags, Target};
use beamline::etf::{EncodeError, Payload, Writer};
use beamline::term::{Atom, Pid, Reference, Term};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, oneshot};

use crate::{time_async, wire};

const FLAGS: Flags = Flags::VISIBLE;
const TIMEOUT: Duration = Duration::from_secs(5);

/// A message, and whom it is for.
type Delivery = (Target, Payload);

type Socket = (OwnedReadHalf, OwnedWriteHalf);

/// The sending half of a connection.
struct Write {
    socket: OwnedWriteHalf,
    sender: Sender,
}

impl Write {
    async fn send(
        &mut self,
        from: &Pid,
        to: Target,
        message: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> io::Result<()> {
        let control = Control::Send { from: Some(from.clone()), to, message: (), priority: false };
        let outgoing = Outgoing::encode(FLAGS, None, &control, |(), writer| message(writer));
        self.sender.push(outgoing.map_err(|error: OutgoingError| io::Error::other(error))?);
        for chunk in self.sender.transmit(usize::MAX) {
            self.socket.write_all(&chunk).await?;
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_types, reason = "the program is bare")]
fn split(stream: tokio::net::TcpStream) -> io::Result<Socket> {
    stream.set_nodelay(true)?;
    Ok(stream.into_split())
}

/// Hands over what arrives until the peer is gone.
async fn read(mut socket: OwnedReadHalf, peer: Atom, mut deliver: impl FnMut(Delivery)) -> io::Result<()> {
    let mut receiver = Receiver::new(peer, FLAGS, Limits::default());
    let mut input = BytesMut::new();
    loop {
        while let Some(received) = receiver.receive(&mut input).map_err(io::Error::other)? {
            if let Received::Signal(Control::Send { to, message, .. }) = received {
                deliver((to, message));
            }
        }
        input.reserve(4 << 10);
        if socket.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// Answers calls on a port, each with its request.
#[expect(clippy::disallowed_types, reason = "the program is bare")]
pub(crate) fn serve(runtime: &Runtime) -> u16 {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            Handle::current().spawn(answer(split(stream).expect("a socket")));
        }
    });
    port
}

async fn answer((read_half, socket): Socket) -> io::Result<()> {
    let (requests, mut inbox) = mpsc::unbounded_channel();
    let deliver = move |request: Delivery| drop(requests.send(request));
    Handle::current().spawn(read(read_half, wire::client().node, deliver));
    let (mut write, server) = (Write { socket, sender: Sender::new(FLAGS) }, wire::server());
    while let Some((_, message)) = inbox.recv().await {
        let (_, (_, tag), request) =
            message.decode::<(Atom, (Pid, Reference), Term)>().map_err(io::Error::other)?;
        let reply = |writer: &mut Writer| {
            writer.tuple(2)?;
            writer.reference(&tag);
            writer.term(&request)
        };
        write.send(&server, Target::Alias(tag.clone()), reply).await?;
    }
    Ok(())
}

/// The call that is under way, and who waits for its reply.
type Open = Arc<Mutex<Option<(Reference, oneshot::Sender<Payload>)>>>;

/// A connection to the peer's port.
pub struct BareCalls(Arc<Mutex<Option<(Write, Open)>>>);

impl BareCalls {
    /// Connects.
    #[expect(clippy::disallowed_types, reason = "the program is bare")]
    pub fn connect(runtime: &Runtime, port: u16) -> Self {
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
            let (read_half, socket) = split(stream).expect("a socket");
            let open = Open::default();
            let calls = open.clone();
            let deliver = move |(to, message): Delivery| {
                let Target::Alias(alias) = to else { return };
                let mut open = calls.lock().unwrap_or_else(PoisonError::into_inner);
                let caller = open.take_if(|(reference, _)| *reference == alias);
                drop(caller.map(|(_, caller)| caller.send(message)));
            };
            Handle::current().spawn(read(read_half, wire::server().node, deliver));
            Self(Arc::new(Mutex::new(Some((Write { socket, sender: Sender::new(FLAGS) }, open)))))
        })
    }

    /// How long so many calls with a term take, one after the other, once so many others have been made, by the same task.
    pub fn time(&self, runtime: &Runtime, term: &Term, settling: u32, times: u32) -> Duration {
        let (place, term) = (self.0.clone(), term.clone());
        crate::echo::output(runtime, async move {
            let taken = place.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (mut write, open) = taken.expect("not in use");
            for n in 0..settling {
                call(&mut write, &open, &term, n).await;
            }
            let took = time_async(async {
                for n in 0..times {
                    call(&mut write, &open, &term, n).await;
                }
            });
            let took = took.await;
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some((write, open));
            took
        })
    }
}

async fn call(write: &mut Write, open: &Open, term: &Term, n: u32) {
    let (client, label) = (wire::client(), Atom::from_static("$gen_call"));
    let reference = Reference::new(client.node.clone(), 1, &[n, 0, 1, 0]).expect("a few words");
    let (caller, reply) = oneshot::channel();
    *open.lock().unwrap_or_else(PoisonError::into_inner) = Some((reference.clone(), caller));
    let message = |writer: &mut Writer| {
        writer.tuple(3)?;
        writer.atom(&label);
        writer.tuple(2)?;
        writer.pid(&client);
        writer.reference(&reference);
        writer.term(term)
    };
    write.send(&client, Target::Pid(wire::server()), message).await.expect("it is written");
    #[expect(clippy::disallowed_methods, reason = "the program is bare")]
    let reply = tokio::time::timeout(TIMEOUT, reply).await.expect("in time").expect("it is answered");
    let (tag, reply) = reply.decode::<(Reference, Term)>().expect("a reply");
    assert!(tag == reference && reply == *term, "another reply");
}
