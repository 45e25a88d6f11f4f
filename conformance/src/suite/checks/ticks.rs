//! Ticks: that the node sends them, misses ours, and is not misled by a slow reader.

use std::time::{Duration, Instant};

use super::{Check, Lane, check, no_start};
use crate::handshake::PUBLISHED;
use crate::peer::{Peer, is_message, op};
use crate::target::Target;
use crate::term::{Term, tuple};
use crate::wire::{LOOK, PATIENCE};
use crate::{Failure, Outcome, seen};

pub(super) const CHECKS: &[Check] = &[
    check(26, "tick-sent", Lane::Waits, sent),
    check(27, "tick-timeout", Lane::Waits, timeout),
    check(28, "tick-slow-reader", Lane::Waits, slow_reader),
];

/// How late a busy machine may make a tick.
const SLACK: Duration = Duration::from_millis(900);

fn sent(target: &Target) -> Result<Outcome, Failure> {
    let Some(node) = target.another()? else { return no_start() };
    let mut me = node.target.me();
    me.flags |= PUBLISHED;
    let mut peer = Peer::connect_as(&node.target, me)?;
    let quarter = node.target.ticktime / 4;
    let begun = Instant::now();
    peer.nothing(node.target.ticktime * 2, |_| false)?;
    let mut last = begun;
    // What a visible peer is told at first stands for a tick.
    let mut most = quarter * 2;
    for &tick in &peer.ticks {
        if tick - last > most + SLACK {
            return Err(seen(format!("{} ms without a tick", (tick - last).as_millis())));
        }
        (last, most) = (tick, quarter);
    }
    if last.elapsed() > most + SLACK {
        return Err(seen(format!(
            "{} ticks, the last {} ms ago",
            peer.ticks.len(),
            last.elapsed().as_millis()
        )));
    }
    Ok(Outcome::Passed)
}

fn timeout(target: &Target) -> Result<Outcome, Failure> {
    let Some(node) = target.another()? else { return no_start() };
    let mut control = Peer::connect(&node.target)?;
    let mut peer = Peer::connect_silent(&node.target, node.target.me())?;
    let watched = peer.pid();
    let reference = peer.call("relations", tuple!["monitor", &watched])?;
    let begun = Instant::now();
    let most = node.target.ticktime * 5 / 4 + SLACK;
    peer.wire
        .until_closed(most)
        .map_err(|error| seen(format!("a silent peer is still connected after {most:?}: {error}")))?;
    let time = begun.elapsed();
    if time + SLACK / 9 < node.target.ticktime * 3 / 4 {
        return Err(seen(format!("closed after {} ms already", time.as_millis())));
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let log = control.call("relations", "log")?;
        match log.elements() {
            Some([down]) if *down == tuple!["DOWN", &reference, "process", &watched, "noconnection"] => {
                return Ok(Outcome::Passed);
            }
            Some([]) if Instant::now() < end => std::thread::sleep(LOOK),
            _ => return Err(seen(format!("a monitor of a process there gives {log:?}"))),
        }
    }
}

fn slow_reader(target: &Target) -> Result<Outcome, Failure> {
    const MESSAGES: usize = 100;
    const SIZE: usize = 1_000_000;
    /// Between two packets: 1.5 MB a second.
    const SLOW: Duration = Duration::from_millis(40);
    let Some(node) = target.another()? else { return no_start() };
    let mut peer = Peer::connect(&node.target)?;
    let me = peer.pid();
    let control = tuple![op::REG_SEND, &me, "", "echo"].bytes();
    let cast = tuple!["$gen_cast", tuple!["send", &me, Term::Binary(vec![7; SIZE])]].bytes();
    let frame = peer.frame(&control, Some(&cast));
    let sender = peer.wire.sender().clone();
    let writer = std::thread::spawn(move || (0..MESSAGES).try_for_each(|_| sender.send(&frame)));
    let slow = Instant::now() + node.target.ticktime * 5 / 2;
    let end = slow + PATIENCE * 3;
    let mut got = 0;
    while got < MESSAGES {
        if Instant::now() < slow {
            std::thread::sleep(SLOW);
        }
        let signal =
            peer.step(end).map_err(|error| seen(format!("after {got} of {MESSAGES} messages: {error}")))?;
        if let Some(signal) = signal.filter(|it| is_message(it, &me)) {
            if signal.payload.len() < SIZE {
                return Err(seen(format!("a message of {} bytes", signal.payload.len())));
            }
            got += 1;
        }
    }
    writer.join().map_err(|_| Failure::Harness("the writer panicked".to_owned()))??;
    peer.stays("100 MB to a slow reader")?;
    Ok(Outcome::Passed)
}
