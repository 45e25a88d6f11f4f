//! Jobs on schedules, without a server of one's own.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Schedule;
use crate::gen_server::{Context, GenServer, Reply, ReplyTo, Server};
use crate::process::{CallError, Destination, ExitReason, TimerReference};
use crate::term::Term;
use crate::world::{BoxFuture, panic_text};

/// Something that is done on a schedule, under a name.
#[derive(Clone)]
pub struct Job {
    name: String,
    schedule: Schedule,
    act: Act,
}

#[derive(Clone)]
enum Act {
    Run(Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>),
    Send(Destination, Term),
}

impl Job {
    /// Runs the future that `work` makes. A time that comes while the last run goes on is skipped.
    pub fn run<F>(
        name: impl Into<String>,
        schedule: Schedule,
        work: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let act = Act::Run(Arc::new(move || Box::pin(work())));
        Self { name: name.into(), schedule, act }
    }

    /// Sends a message. That nobody is there to receive it is logged.
    pub fn send(
        name: impl Into<String>,
        schedule: Schedule,
        to: impl Into<Destination>,
        message: impl Into<Term>,
    ) -> Self {
        Self { name: name.into(), schedule, act: Act::Send(to.into(), message.into()) }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Job({} at {})", self.name, self.schedule)
    }
}

/// A server that does jobs on schedules, each beside the others. A job that panics is logged, and done again the next time; one that runs
/// when the server ends is given up.
///
/// ```no_run
/// use beamline::cron::{Cron, Job, Schedule};
/// use beamline::prelude::*;
///
/// # async fn example(node: &Node) -> Result<(), Box<dyn std::error::Error>> {
/// let at_night = Schedule::parse("0 3 * * *", "Europe/Oslo")?;
/// let jobs = vec![Job::run("clean up", at_night, || async { println!("cleaning up") })];
/// let cron = Cron::start(node, jobs).name("cron").await?;
///
/// let office_hours = Schedule::parse("*/5 9-17 * * mon-fri", "America/New_York")?;
/// cron.add(Job::send("poll", office_hours, ("feed", "app@host"), Atom::from("poll"))).await?;
/// for (name, next) in cron.list().await? {
///     println!("{name}: {next:?}");
/// }
/// cron.remove("poll").await?;
/// # Ok(())
/// # }
/// ```
pub struct Cron {
    jobs: BTreeMap<String, Entry>,
    added: u64,
}

struct Entry {
    job: Job,
    /// Tells it from a former job of the name.
    number: u64,
    timer: TimerReference,
    /// A run holds another.
    running: Arc<()>,
}

/// What the server is asked; its users have methods instead.
#[doc(hidden)]
#[derive(Deserialize)]
pub enum Ask {
    #[serde(skip)]
    Add(Job),
    #[serde(skip)]
    Remove(String),
    #[serde(skip)]
    List,
}

/// What it answers.
#[doc(hidden)]
#[derive(Serialize)]
pub enum Answer {
    Done(bool),
    Jobs(BTreeMap<String, Option<SystemTime>>),
}

/// The time of a job has come.
#[doc(hidden)]
#[derive(Clone, Deserialize)]
pub enum Due {
    #[serde(skip)]
    Job(String, u64),
}

impl Cron {
    fn add(&mut self, job: Job, cx: &mut Context<Self>) {
        self.remove(&job.name, cx);
        self.added += 1;
        let number = self.added;
        let timer = cx.send_cron(job.schedule.clone(), Due::Job(job.name.clone(), number));
        self.jobs.insert(job.name.clone(), Entry { job, number, timer, running: Arc::new(()) });
    }

    fn remove(&mut self, name: &str, cx: &Context<Self>) -> bool {
        let removed = self.jobs.remove(name);
        if let Some(entry) = &removed {
            cx.cancel_timer(entry.timer);
        }
        removed.is_some()
    }
}

impl GenServer for Cron {
    type Args = Vec<Job>;
    type Call = Ask;
    type Reply = Answer;
    type Cast = Term;
    type Info = Due;

    async fn init(jobs: Vec<Job>, cx: &mut Context<Self>) -> Result<Self, ExitReason> {
        let mut cron = Self { jobs: BTreeMap::new(), added: 0 };
        for job in jobs {
            cron.add(job, cx);
        }
        Ok(cron)
    }

    async fn handle_call(
        &mut self,
        ask: Ask,
        from: ReplyTo<Answer>,
        cx: &mut Context<Self>,
    ) -> Result<Reply, ExitReason> {
        Ok(from.reply(match ask {
            Ask::Add(job) => {
                self.add(job, cx);
                Answer::Done(true)
            }
            Ask::Remove(name) => Answer::Done(self.remove(&name, cx)),
            Ask::List => {
                let now = cx.world().clock.wall();
                let next =
                    |(name, entry): (&String, &Entry)| (name.clone(), entry.job.schedule.next_after(now));
                Answer::Jobs(self.jobs.iter().map(next).collect())
            }
        }))
    }

    async fn handle_info(&mut self, due: Due, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let Due::Job(name, number) = due;
        let Some(entry) = self.jobs.get(&name).filter(|entry| entry.number == number) else { return Ok(()) };
        match &entry.job.act {
            Act::Send(to, message) => {
                if let Err(error) = cx.send(to.clone(), message.clone()) {
                    tracing::warn!(job = name, %error, "a job's message is not sent");
                }
            }
            Act::Run(_) if Arc::strong_count(&entry.running) > 1 => {
                tracing::warn!(job = name, "a job still runs when its next time comes, which is skipped");
            }
            Act::Run(work) => cx.task(run(name, work.clone(), entry.running.clone())),
        }
        Ok(())
    }
}

/// Does the work of a job, whose panics end no more than it.
async fn run(name: String, work: Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>, running: Arc<()>) {
    // What makes the future may panic, too.
    let mut work = pin!(async move { work().await });
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))).unwrap_or_else(|panic| {
            tracing::error!(job = name, panic = panic_text(&*panic), "a job panicked");
            Poll::Ready(())
        })
    })
    .await;
    drop(running);
}

impl Server<Cron> {
    /// Adds a job, in the place of one that has its name.
    ///
    /// # Errors
    /// If the server has ended.
    pub async fn add(&self, job: Job) -> Result<(), CallError> {
        self.call(Ask::Add(job)).await.map(|_| ())
    }

    /// Removes a job; a run of it goes on. Returns whether there was one of this name.
    ///
    /// # Errors
    /// If the server has ended.
    pub async fn remove(&self, name: impl Into<String>) -> Result<bool, CallError> {
        Ok(matches!(self.call(Ask::Remove(name.into())).await?, Answer::Done(true)))
    }

    /// The jobs, and when each comes next, as the wall clock stands now.
    ///
    /// # Errors
    /// If the server has ended.
    pub async fn list(&self) -> Result<BTreeMap<String, Option<SystemTime>>, CallError> {
        match self.call(Ask::List).await? {
            Answer::Jobs(jobs) => Ok(jobs),
            Answer::Done(_) => Ok(BTreeMap::new()),
        }
    }
}
