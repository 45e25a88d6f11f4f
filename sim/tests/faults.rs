//! Each fault shows a program what the real one would.

use std::io::ErrorKind;
use std::time::Duration;

use beamline::world::World;
use beamline_sim::{Fault, SYN_PATIENCE, Sim, TCP_PATIENCE, WINDOW};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn s(name: &str) -> String {
    name.to_owned()
}

/// What the programs of a host have noted, and when in milliseconds.
fn notes(sim: &Sim, host: &str) -> Vec<(u128, String)> {
    let trace = sim.trace();
    let noted = trace.events().iter().filter(|event| event.node == host && event.kind == "note");
    noted.map(|event| (event.at.as_millis(), event.detail.clone())).collect()
}

fn texts(sim: &Sim, host: &str) -> Vec<String> {
    notes(sim, host).into_iter().map(|(_, text)| text).collect()
}

/// The notes from a time on.
fn texts_since(sim: &Sim, host: &str, since: Duration) -> Vec<String> {
    let noted = notes(sim, host).into_iter().filter(|(at, _)| *at >= since.as_millis());
    noted.map(|(_, text)| text).collect()
}

fn note(world: &World, text: impl std::fmt::Display) {
    world.event("", "note", &text);
}

/// Answers every byte with itself, and notes how each connection ends.
fn echo(sim: &mut Sim, host: &str) {
    sim.service(host, |world| async move {
        let mut listener = world.net.listen("0.0.0.0", 7).await?;
        loop {
            let mut conn = listener.accept().await?;
            let inner = world.clone();
            world.spawn(async move {
                let mut buffer = [0; 64];
                loop {
                    match conn.read.read(&mut buffer).await {
                        Ok(0) => break note(&inner, "end"),
                        Ok(len) => {
                            if let Err(error) = conn.write.write_all(&buffer[..len]).await {
                                break note(&inner, format_args!("write {:?}", error.kind()));
                            }
                        }
                        Err(error) => break note(&inner, format_args!("read {:?}", error.kind())),
                    }
                }
            });
        }
    });
}

/// Pings the server at every interval, and notes what comes of it; dials again when a connection ends.
fn pinger(sim: &mut Sim, host: &str, interval: Duration) {
    sim.service(host, move |world| async move {
        // The server has to listen first.
        world.sleep(MS).await;
        loop {
            match world.net.connect("server", 7).await {
                Ok(mut conn) => {
                    note(&world, "connected");
                    let error = loop {
                        if let Err(error) = conn.write.write_all(b"ping").await {
                            break format!("write {:?}", error.kind());
                        }
                        match conn.read.read_exact(&mut [0; 4]).await {
                            Ok(_) => note(&world, "pong"),
                            Err(error) => break format!("read {:?}", error.kind()),
                        }
                        world.sleep(interval).await;
                    };
                    note(&world, error);
                }
                Err(error) => note(&world, format_args!("dial {:?}", error.kind())),
            }
            world.sleep(interval).await;
        }
    });
}

/// A client that has pinged its server for a second.
fn pinged(interval: Duration) -> Sim {
    let mut sim = Sim::new(1);
    echo(&mut sim, "server");
    pinger(&mut sim, "client", interval);
    sim.run_for(SECOND).unwrap();
    let noted = texts(&sim, "client");
    assert_eq!(noted[..2], ["connected", "pong"]);
    assert!(noted[1..].iter().all(|text| text == "pong"), "{noted:?}");
    sim
}

#[test]
fn a_cut_in_either_direction_makes_a_dial_hang() {
    for (from, to) in [("client", "server"), ("server", "client")] {
        let mut sim = Sim::new(1);
        echo(&mut sim, "server");
        sim.node("client", |world| async move {
            let before = world.clock.mono();
            let error = world.net.connect("server", 7).await.err().expect("the wire is cut");
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(world.clock.mono().since(before), SYN_PATIENCE);
            Ok(())
        });
        sim.inject(&Fault::CutOneWay { from: s(from), to: s(to) });
        let trace = sim.run().unwrap();
        assert!(trace.events().iter().all(|event| event.kind != "accepted"), "{from} to {to}");
    }
}

#[test]
fn a_dial_that_waits_gets_through_once_the_wire_is_mended() {
    let mut sim = Sim::new(1);
    echo(&mut sim, "server");
    sim.node("client", |world| async move {
        let before = world.clock.mono();
        world.net.connect("server", 7).await?;
        let waited = world.clock.mono().since(before);
        assert!(waited > 5 * SECOND && waited < 10 * SECOND, "{waited:?}");
        Ok(())
    });
    sim.cut("client", "server");
    sim.run_for(5 * SECOND).unwrap();
    sim.heal("client", "server");
    sim.run().unwrap();
}

#[test]
fn a_cut_that_lasts_breaks_the_end_that_has_sent_something_and_not_the_silent_one() {
    let mut sim = pinged(100 * MS);
    sim.cut("client", "server");
    sim.run_for(TCP_PATIENCE + 2 * SECOND).unwrap();
    let broken =
        notes(&sim, "client").into_iter().find(|(_, text)| text == "read TimedOut").expect("it breaks");
    let after = Duration::from_millis(broken.0.try_into().unwrap()) - SECOND;
    assert!(after >= TCP_PATIENCE && after <= TCP_PATIENCE + 200 * MS, "{after:?}");
    sim.heal("client", "server");
    sim.run_for(10 * SECOND).unwrap();
    assert_eq!(texts(&sim, "client").last().unwrap(), "pong", "on a new connection");
    assert_eq!(texts(&sim, "server"), [""; 0], "the server has sent nothing, and its half stays open");
}

#[test]
fn a_cut_of_the_answers_lets_requests_through_and_breaks_both_who_wait_for_them() {
    let mut sim = pinged(100 * MS);
    sim.inject(&Fault::CutOneWay { from: s("server"), to: s("client") });
    let got = |sim: &Sim| {
        let trace = sim.trace();
        trace.events().iter().filter(|event| event.node == "server" && event.kind == "got").count()
    };
    let before = got(&sim);
    sim.run_for(TCP_PATIENCE + 2 * SECOND).unwrap();
    assert!(got(&sim) > before, "a ping arrived");
    assert!(texts(&sim, "client").contains(&s("read TimedOut")), "it was not acknowledged");
    assert_eq!(texts(&sim, "server"), ["read TimedOut"], "nor was the answer");
}

#[test]
fn a_short_cut_loses_and_doubles_nothing() {
    let mut sim = Sim::new(1);
    sim.node("server", |world| async move {
        let mut conn = world.net.listen("0.0.0.0", 7).await?.accept().await?;
        let mut all = Vec::new();
        conn.read.read_to_end(&mut all).await?;
        let expected: Vec<u8> = (0..500_u32).flat_map(u32::to_be_bytes).collect();
        assert!(all == expected);
        Ok(())
    });
    sim.node("client", |world| async move {
        world.sleep(MS).await;
        let mut conn = world.net.connect("server", 7).await?;
        for number in 0..500_u32 {
            conn.write.write_all(&number.to_be_bytes()).await?;
            world.sleep(10 * MS).await;
        }
        conn.write.shutdown().await?;
        Ok(())
    });
    for _ in 0..4 {
        sim.run_for(500 * MS).unwrap();
        sim.inject(&Fault::CutOneWay { from: s("client"), to: s("server") });
        sim.run_for(500 * MS).unwrap();
        sim.heal("client", "server");
    }
    sim.run().unwrap();
}

#[test]
fn a_reset_comes_in_the_middle_of_what_is_sent() {
    // While nothing is on its way, it waits for something.
    for interval in [10 * MS, 100 * MS] {
        let mut torn = 0;
        for seed in 0..20 {
            let mut sim = Sim::new(seed);
            sim.service("server", |world| async move {
                let mut listener = world.net.listen("0.0.0.0", 7).await?;
                let mut conn = listener.accept().await?;
                let mut frame = [0; 100];
                loop {
                    let mut len = 0;
                    while len < 100 {
                        match conn.read.read(&mut frame[len..]).await {
                            Ok(0) => return Err("it ended".into()),
                            Ok(read) => len += read,
                            Err(error) => {
                                note(&world, format_args!("{len} {:?}", error.kind()));
                                return Ok(());
                            }
                        }
                    }
                }
            });
            sim.node("client", move |world| async move {
                world.sleep(MS).await;
                let mut conn = world.net.connect("server", 7).await?;
                let error = loop {
                    if let Err(error) = conn.write.write_all(&[1; 100]).await {
                        break error;
                    }
                    world.sleep(interval).await;
                };
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                world.sleep(100 * MS).await;
                Ok(())
            });
            sim.run_for(300 * MS).unwrap();
            sim.inject(&Fault::Reset { one: s("client"), other: s("server") });
            sim.run_for(300 * MS).unwrap();
            let noted = texts(&sim, "server");
            let (len, error) = noted.first().expect("it broke").split_once(' ').unwrap();
            assert_eq!(error, "ConnectionReset");
            torn += u32::from(len != "0");
            sim.run().unwrap();
        }
        assert!(torn > 10, "{torn} of 20 in mid-frame");
    }
}

#[test]
fn a_half_open_connection_is_found_out_by_who_writes() {
    let mut sim = pinged(2 * SECOND);
    sim.inject(&Fault::HalfOpen { gone: s("server"), left: s("client") });
    sim.run_for(500 * MS).unwrap();
    assert_eq!(texts(&sim, "server"), ["read ConnectionReset"]);
    assert_eq!(texts_since(&sim, "client", SECOND), [""; 0]);
    sim.run_for(2 * SECOND).unwrap();
    assert_eq!(texts_since(&sim, "client", SECOND)[0], "read ConnectionReset");
}

#[test]
fn a_writer_waits_for_bytes_to_be_read_however_few_writes_it_makes() {
    let mut sim = Sim::new(1);
    sim.service("server", |world| async move {
        let mut conn = world.net.listen("0.0.0.0", 7).await?.accept().await?;
        world.sleep(10 * SECOND).await;
        let mut all = Vec::new();
        conn.read.read_to_end(&mut all).await?;
        note(&world, all.len());
        Ok(())
    });
    sim.node("client", |world| async move {
        world.sleep(MS).await;
        let mut conn = world.net.connect("server", 7).await?;
        // Many more than the 64 at which turmoil's own sockets stop.
        for _ in 0..WINDOW / 256 {
            conn.write.write_all(&[0; 256]).await?;
        }
        assert!(world.timeout(5 * SECOND, conn.write.write(&[0; 2])).await.is_err(), "the window is full");
        conn.write.write_all(&vec![0; WINDOW]).await?;
        drop(conn);
        world.sleep(SECOND).await;
        Ok(())
    });
    sim.run_for(20 * SECOND).unwrap();
    assert_eq!(texts(&sim, "server"), [(2 * WINDOW).to_string()]);
}

#[test]
fn a_narrow_wire_takes_its_time_in_one_direction() {
    let mut sim = Sim::new(1);
    echo(&mut sim, "server");
    sim.node("client", |world| async move {
        world.sleep(MS).await;
        let mut conn = world.net.connect("server", 7).await?;
        let mut took = Vec::new();
        for _ in 0..2 {
            let before = world.clock.mono();
            conn.write.write_all(&[0; 20_000]).await?;
            conn.read.read_exact(&mut [0; 20_000]).await?;
            took.push(world.clock.mono().since(before));
            note(&world, "done");
            world.sleep(SECOND).await;
        }
        assert!(took[0] >= 2 * SECOND && took[0] < 3 * SECOND, "{took:?}");
        assert!(took[1] < SECOND, "{took:?}");
        Ok(())
    });
    let narrow = |bytes_per_ms| Fault::Bandwidth { from: s("client"), to: s("server"), bytes_per_ms };
    sim.inject(&narrow(Some(10)));
    while texts(&sim, "client").is_empty() {
        sim.run_for(100 * MS).unwrap();
    }
    sim.inject(&narrow(None));
    sim.run().unwrap();
}

#[test]
fn a_long_wire_delays_each_way() {
    let mut sim = Sim::new(1);
    echo(&mut sim, "server");
    sim.node("client", |world| async move {
        world.sleep(MS).await;
        let mut conn = world.net.connect("server", 7).await?;
        for _ in 0..10 {
            let before = world.clock.mono();
            conn.write.write_all(b"x").await?;
            conn.read.read_exact(&mut [0]).await?;
            let took = world.clock.mono().since(before);
            assert!(took >= 400 * MS && took <= 605 * MS, "{took:?}");
        }
        Ok(())
    });
    let (one, other) = (s("server"), s("client"));
    sim.inject(&Fault::Latency { one, other, min_ms: 200, max_ms: 300 });
    sim.run().unwrap();
}

#[test]
fn a_host_with_small_chunks_reads_and_writes_few_bytes_at_once() {
    let mut sim = Sim::new(1);
    sim.node("server", |world| async move {
        let mut conn = world.net.listen("0.0.0.0", 7).await?.accept().await?;
        let mut buffer = [0; 100];
        assert_eq!(conn.read.read(&mut buffer).await?, 3);
        assert_eq!(conn.write.write(&buffer).await?, 3);
        Ok(())
    });
    sim.node("client", |world| async move {
        world.sleep(MS).await;
        let mut conn = world.net.connect("server", 7).await?;
        assert_eq!(conn.write.write(&[1; 100]).await?, 100);
        assert_eq!(conn.read.read(&mut [0; 100]).await?, 3);
        Ok(())
    });
    sim.inject(&Fault::Chunks { node: s("server"), max_len: Some(3) });
    sim.run().unwrap();
}

#[test]
fn a_killed_process_closes_its_connections_and_its_host_refuses() {
    let mut sim = pinged(100 * MS);
    sim.crash("server");
    sim.run_for(SECOND).unwrap();
    let seen = texts_since(&sim, "client", SECOND);
    let lost = seen.iter().find(|text| *text != "pong").unwrap();
    assert!(["read UnexpectedEof", "read ConnectionReset"].contains(&lost.as_str()), "{seen:?}");
    assert_eq!(seen.last().unwrap(), "dial ConnectionRefused");
    sim.restart("server");
    sim.run_for(SECOND).unwrap();
    assert_eq!(texts(&sim, "client").last().unwrap(), "pong");
}

#[test]
fn a_host_without_power_is_silent_and_afterwards_knows_no_connection() {
    // The client dials before the power is lost, and writes only when it is back.
    let mut sim = pinged(10 * SECOND);
    let power = Fault::PowerLoss { node: s("server") };
    sim.inject(&power);
    sim.run_for(2 * SECOND).unwrap();
    assert_eq!(texts_since(&sim, "client", SECOND), [""; 0], "nobody tells it");
    sim.restart("server");
    sim.run_for(10 * SECOND).unwrap();
    assert_eq!(texts_since(&sim, "client", SECOND), ["read ConnectionReset"]);

    let mut sim = pinged(100 * MS);
    sim.inject(&power);
    sim.run_for(TCP_PATIENCE + SYN_PATIENCE + 2 * SECOND).unwrap();
    let seen = texts_since(&sim, "client", SECOND);
    let seen: Vec<_> = seen.iter().filter(|text| *text != "pong").collect();
    assert_eq!(seen, ["read TimedOut", "dial TimedOut"]);
}

#[test]
fn a_paused_node_keeps_its_sockets_and_goes_on_with_what_they_hold() {
    let mut sim = Sim::new(1);
    echo(&mut sim, "server");
    sim.node("client", |world| async move {
        world.sleep(MS).await;
        let mut conn = world.net.connect("server", 7).await?;
        world.sleep(SECOND).await;
        conn.write.write_all(b"ping").await?;
        let before = world.clock.mono();
        conn.read.read_exact(&mut [0; 4]).await?;
        let took = world.clock.mono().since(before);
        assert!(took > 40 * SECOND && took < 60 * SECOND, "{took:?}");
        Ok(())
    });
    sim.run_for(500 * MS).unwrap();
    sim.pause("server");
    sim.run_for(50 * SECOND).unwrap();
    sim.resume("server");
    sim.run().unwrap();
}

#[test]
fn a_slow_node_gets_less_done() {
    let mut sim = Sim::new(1);
    sim.node("one", |world| async move {
        let before = world.clock.mono();
        for _ in 0..1000 {
            yield_now().await;
        }
        let took = world.clock.mono().since(before);
        assert!(took > 400 * MS && took < 600 * MS, "{took:?}");
        Ok(())
    });
    sim.inject(&Fault::Slow { node: s("one"), polls_per_ms: Some(2) });
    sim.run().unwrap();
}

#[test]
fn a_shaken_node_runs_its_tasks_in_orders_that_the_seed_decides() {
    let order = |seed, percent| {
        let mut sim = Sim::new(seed);
        sim.node("one", |world| async move {
            world.sleep(MS).await;
            for task in 0..4 {
                let inner = world.clone();
                world.spawn(async move { note(&inner, task) });
            }
            world.sleep(100 * MS).await;
            Ok(())
        });
        sim.inject(&Fault::Shake { node: s("one"), percent });
        sim.run_for(SECOND).unwrap();
        texts(&sim, "one").concat()
    };
    let orders: std::collections::BTreeSet<_> = (0..40).map(|seed| order(seed, 40)).collect();
    assert!(orders.len() > 10, "{orders:?}");
    assert_eq!(order(7, 40), order(7, 40));
    assert_eq!(order(7, 0), "0123");
}

#[test]
fn clocks_jump_and_drift_and_timers_follow_the_node_s_own() {
    let mut sim = Sim::new(1);
    sim.service("one", |world| async move {
        loop {
            let (mono, wall) = (world.clock.mono(), world.clock.wall());
            world.sleep(SECOND).await;
            let far = match world.clock.wall().duration_since(wall) {
                Ok(far) => i128::try_from(far.as_millis())?,
                Err(back) => -i128::try_from(back.duration().as_millis())?,
            };
            note(&world, format_args!("{} {far}", world.clock.mono().since(mono).as_millis()));
        }
    });
    sim.run_for(500 * MS).unwrap();
    sim.inject(&Fault::ClockJump { node: s("one"), by_ms: -3_600_000 });
    sim.run_for(SECOND).unwrap();
    sim.inject(&Fault::ClockDrift { node: s("one"), ppm: 250_000 });
    sim.run_for(4 * SECOND).unwrap();
    let seen = notes(&sim, "one");
    assert_eq!(seen[0].1, "1000 -3599000", "the monotonic clock does not jump");
    // In the second that is under way when the clock gets faster the timer is set already.
    assert_eq!(seen[2].1, "1000 1000");
    assert_eq!(seen[3].0 - seen[2].0, 800, "a fast clock's second is short");
}

#[test]
fn a_partition_leaves_those_of_one_group_together() {
    let mut sim = Sim::new(1);
    echo(&mut sim, "server");
    for name in ["with", "without", "nowhere"] {
        pinger(&mut sim, name, 100 * MS);
    }
    sim.run_for(SECOND).unwrap();
    sim.inject(&Fault::Partition { groups: vec![vec![s("server"), s("with")], vec![s("without")]] });
    sim.run_for(SECOND).unwrap();
    let late = |sim: &Sim, name: &str, from: u32| texts_since(sim, name, from * SECOND + 200 * MS).len();
    assert!(late(&sim, "with", 1) > 3);
    assert_eq!((late(&sim, "without", 1), late(&sim, "nowhere", 1)), (0, 0));
    sim.inject(&Fault::MendAll);
    sim.run_for(SECOND).unwrap();
    assert!(late(&sim, "without", 2) > 3 && late(&sim, "nowhere", 2) > 3);
}

#[test]
fn a_dead_epmd_refuses_everyone_until_it_is_up() {
    let mut sim = Sim::new(1);
    sim.service("host", beamline_sim::scenario::epmd::daemon);
    sim.service("client", |world| async move {
        loop {
            world.sleep(100 * MS).await;
            let mut conn = match world.net.connect("host", 4369).await {
                Ok(conn) => conn,
                Err(error) => {
                    note(&world, format_args!("{:?}", error.kind()));
                    continue;
                }
            };
            // NAMES_REQ.
            conn.write.write_all(&[0, 1, 110]).await?;
            match conn.read.read_to_end(&mut Vec::new()).await {
                Ok(_) => note(&world, "answered"),
                Err(error) => note(&world, format_args!("in mid-connection {:?}", error.kind())),
            }
        }
    });
    sim.run_for(SECOND).unwrap();
    assert!(texts(&sim, "client").iter().all(|text| text == "answered"));
    sim.inject(&Fault::EpmdDown { node: s("host") });
    sim.run_for(SECOND).unwrap();
    assert_eq!(texts(&sim, "client").last().unwrap(), "ConnectionRefused");
    sim.inject(&Fault::EpmdUp { node: s("host") });
    sim.run_for(SECOND).unwrap();
    assert_eq!(texts(&sim, "client").last().unwrap(), "answered");
}

#[test]
fn a_twin_finds_the_port_of_the_first_taken_and_ends_with_the_crash_of_its_host() {
    let mut sim = pinged(100 * MS);
    sim.inject(&Fault::Twin { node: s("server") });
    sim.run_for(SECOND).unwrap();
    let gave_up = |sim: &Sim| {
        let trace = sim.trace();
        let gave_up = trace.events().iter().filter(|event| event.kind == "gave up");
        gave_up.map(|event| (event.node.clone(), event.incarnation)).collect::<Vec<_>>()
    };
    assert_eq!(gave_up(&sim), [(s("server"), 2)]);
    assert!(texts(&sim, "client")[1..].iter().all(|text| text == "pong"), "the first does not notice");
    sim.restart("server");
    sim.run_for(SECOND).unwrap();
    assert_eq!(texts(&sim, "client").last().unwrap(), "pong");
    assert!(sim.trace().events().iter().any(|event| event.kind == "boot" && event.incarnation == 3));
}

#[test]
fn both_ends_of_a_connection_have_its_number_and_what_one_got_the_other_sent() {
    let mut sim = pinged(100 * MS);
    sim.run_for(SECOND).unwrap();
    sim.crash("client");
    sim.run_for(SECOND).unwrap();
    let trace = sim.trace();
    let of = |host: &str, kind: &str| -> Vec<String> {
        let events = trace.events().iter().filter(|event| event.node == host && event.kind == kind);
        events.map(|event| event.detail.clone()).collect()
    };
    assert_eq!(of("client", "connected"), ["1 client:49152 server:7"]);
    assert_eq!(of("server", "accepted"), ["1 server:7 client:49152"]);
    let total = |host: &str, kind: &str| -> u64 {
        let mut next = 0;
        for detail in of(host, kind) {
            let fields: Vec<_> = detail.split(' ').collect();
            assert_eq!(fields[2].parse::<u64>().unwrap(), next, "{detail}");
            next += fields[3].parse::<u64>().unwrap();
        }
        next
    };
    assert_eq!(total("client", "sent"), total("server", "got"));
    assert_eq!(of("client", "closed"), ["1 server killed"]);
    assert_eq!(of("server", "closed"), ["1 client closed"]);
}
