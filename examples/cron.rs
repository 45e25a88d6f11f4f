//! Schedules in cron's syntax, with time zones. `cargo run --example cron --features cron`

use std::time::SystemTime;

use beamline::cron::{Cron, Job, Schedule};
use beamline::prelude::*;
use jiff::{Timestamp, tz::TimeZone};

/// The next times of a line after `after`, as the clocks of its zone show them.
fn show(line: &str, zone: &str, after: &str) -> Result<(), Box<dyn std::error::Error>> {
    let schedule = Schedule::parse(line, zone)?;
    println!("{schedule}");
    let mut time: SystemTime = after.parse::<Timestamp>()?.into();
    for _ in 0..3 {
        let Some(next) = schedule.next_after(time) else { break };
        println!("  {}", Timestamp::try_from(next)?.to_zoned(TimeZone::get(zone)?).strftime("%a %F %T %Z"));
        time = next;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    show("*/20 9-17 * * mon-fri", "America/New_York", "2026-11-27T22:00:00Z")?;
    show("0 12 * * fri#2", "Europe/Oslo", "2026-01-01T00:00:00Z")?;
    // In Oslo there is no such time on 29 March 2026: it fires right after the hour that is skipped.
    show("30 2 * * *", "Europe/Oslo", "2026-03-28T00:00:00Z")?;
    // And one that is a mistake.
    match Schedule::parse("0 9-25 * * *", "UTC") {
        Ok(schedule) => println!("{schedule}"),
        Err(error) => println!("0 9-25 * * *\n  {error}"),
    }

    let node = Node::builder("shop@127.0.0.1").cookie("secret").start().await?;
    let (fired, mut firings) = tokio::sync::mpsc::unbounded_channel();
    let work = move || {
        let fired = fired.clone();
        async move {
            // Nobody waits for more than three.
            let _ = fired.send(());
        }
    };
    let cron =
        Cron::start(&node, vec![Job::run("every second", Schedule::parse("* * * * * *", "UTC")?, work)])
            .name("cron")
            .await?;
    for _ in 0..3 {
        firings.recv().await;
        let now = Timestamp::try_from(node.world().clock.wall())?;
        println!("fired at {}", now.strftime("%T%.1f"));
    }
    println!("removed: {}", cron.remove("every second").await?);
    node.stop().await;
    Ok(())
}
