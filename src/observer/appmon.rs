//! The server that tells of a node's applications and their trees of processes, to those who have asked it to.
//!
//! Source: `appmon_info.erl` in runtime_tools.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::number;
use crate::process::{Context, ExitReason, GenMessage, ProcessInfo, Raise, Received, reply_cell};
use crate::term::{Atom, Pid, Term};

const NAME: Atom = Atom::from_static("appmon_info");
/// How often it looks again.
const INTERVAL: Duration = Duration::from_secs(2);

/// What the application controller says. None while there is none: then nothing was ever loaded.
pub(super) async fn ask(cx: &Context<Term>, what: &'static str) -> Option<Term> {
    cx.call("application_controller", Atom::from_static(what)).await.ok()
}

/// `{ok, Server}`: one server a node, which all clients share.
pub(super) async fn start_link(
    cx: Context<Term>,
    _starter: Pid,
    client: Pid,
    _options: Term,
) -> Result<Term, Raise> {
    let ok_server = |server: Pid| Ok(Term::tuple([Term::atom("ok"), server.into()]));
    loop {
        if let Some(server) = cx.whereis(NAME.as_str()) {
            let register = (Atom::from_static("register_client"), client.clone());
            match cx.call::<Term, _>(&server, register).await {
                Ok(_) => return ok_server(server),
                // It ended meanwhile.
                Err(_) => continue,
            }
        }
        let (started, starts) = reply_cell();
        let first = client.clone();
        let leader = cx.local().heritage().group_leader.clone();
        let spawned = cx.spawn(|cx: Context<Term>| async move {
            cx.set_group_leader(leader);
            if cx.register(NAME).is_err() {
                return ExitReason::Normal;
            }
            cx.trap_exit(true);
            cx.link(&first);
            started.give(());
            serve(cx, first).await
        });
        let server = spawned.map_err(|_| Raise::Error(Term::atom("system_limit")))?;
        if starts.await.is_ok() {
            return ok_server(server);
        }
        // Another was faster.
    }
}

/// What is told again and again: a command, what it is about, and to whom.
type Order = (Atom, Term, Pid);

struct Server {
    clients: BTreeSet<Pid>,
    /// Each with what was told last.
    orders: BTreeMap<Order, Option<Term>>,
}

async fn serve(mut cx: Context<Term>, first: Pid) -> ExitReason {
    let mut server = Server { clients: BTreeSet::from([first]), orders: BTreeMap::new() };
    cx.send_after(INTERVAL, Term::atom("look"));
    loop {
        let message = match cx.receive_signal().await {
            // The timer's.
            Received::Own(_) => {
                let orders: Vec<Order> = server.orders.keys().cloned().collect();
                for order in orders {
                    server.tell(&cx, order).await;
                }
                cx.send_after(INTERVAL, Term::atom("look"));
                continue;
            }
            Received::Term(message) => message,
        };
        match GenMessage::new(message) {
            GenMessage::Call { from, request } => {
                let known = match request.term().as_tuple() {
                    Some([tag, client]) if tag.is_atom("register_client") => client.as_pid().cloned(),
                    _ => None,
                };
                let answer = if known.is_some() { "ok" } else { "error" };
                if let Some(client) = known {
                    cx.link(&client);
                    server.clients.insert(client);
                }
                let _ = from.reply(cx.local(), cx.pid(), &Atom::from_static(answer));
            }
            GenMessage::Cast(order) => server.order(&cx, &order.term()).await,
            GenMessage::Info(info) => {
                if let Some([tag, from, _]) = info.term().as_tuple()
                    && tag.is_atom("EXIT")
                    && let Some(from) = from.as_pid()
                {
                    server.clients.remove(from);
                    server.orders.retain(|(_, _, client), _| client != from);
                    if server.clients.is_empty() {
                        return ExitReason::Normal;
                    }
                }
            }
            GenMessage::System { .. } => {}
        }
    }
}

impl Server {
    /// `{Client, Command, About, OnOff, Options}`. Only of clients: who is none is not known to end.
    async fn order(&mut self, cx: &Context<Term>, order: &Term) {
        let Some([client, command, about, on, _options]) = order.as_tuple() else { return };
        let (Some(client), Some(command)) = (client.as_pid(), command.as_atom()) else { return };
        let order = (command.clone(), about.clone(), client.clone());
        match on.as_bool() {
            Some(true) if self.clients.contains(client) => {
                self.orders.insert(order.clone(), None);
                self.tell(cx, order).await;
            }
            _ => drop(self.orders.remove(&order)),
        }
    }

    /// Tells a client, if there is something else than the last time.
    async fn tell(&mut self, cx: &Context<Term>, order: Order) {
        let (command, about, client) = &order;
        let result = match command.as_str() {
            "app_ctrl" => applications(cx).await,
            "app" => match about.as_atom() {
                Some(application) => tree(cx, application).await,
                None => return,
            },
            "load" => Term::tuple([number(0), number(0)]),
            _ => return,
        };
        let Some(last) = self.orders.get_mut(&order) else { return };
        if last.as_ref() == Some(&result) {
            return;
        }
        *last = Some(result.clone());
        let delivery =
            [Term::atom("delivery"), cx.pid().clone().into(), command.clone().into(), about.clone(), result];
        let _ = cx.send(client, Term::tuple(delivery));
    }
}

/// The masters of the applications that run, by the application's name.
async fn masters(cx: &Context<Term>) -> Vec<(Atom, Pid)> {
    let info = ask(cx, "info").await.unwrap_or_default();
    let running = info.as_list().unwrap_or_default().iter().find_map(|entry| match entry.as_tuple() {
        Some([key, running]) if key.is_atom("running") => running.as_list(),
        _ => None,
    });
    let running = running.unwrap_or_default().iter().filter_map(|entry| match entry.as_tuple() {
        Some([name, master]) => Some((name.as_atom()?.clone(), master.as_pid()?.clone())),
        _ => None,
    });
    running.collect()
}

/// `[{Master, Name, {Name, Description, Vsn}}]`.
async fn applications(cx: &Context<Term>) -> Term {
    let which = ask(cx, "which_applications").await.unwrap_or_default();
    let masters = masters(cx).await;
    let applications = which.as_list().unwrap_or_default().iter().filter_map(|application| {
        let name = application.as_tuple()?.first()?.as_atom()?;
        let (_, master) = masters.iter().find(|(it, _)| it == name)?;
        Some(Term::tuple([master.clone().into(), name.clone().into(), application.clone()]))
    });
    Term::list(applications)
}

/// As the node itself would print a pid of its own.
fn label(info: &ProcessInfo) -> String {
    match &info.registered_name {
        Some(name) => name.as_str().to_owned(),
        None => format!("<0.{}.{}>", info.pid.id, info.pid.serial),
    }
}

/// `{Root, Processes, Links, OtherLinks}`: who started whom, from the application's master on.
async fn tree(cx: &Context<Term>, application: &Atom) -> Term {
    let masters = masters(cx).await;
    let none = || Term::tuple([Term::nil(), Term::nil(), Term::nil(), Term::nil()]);
    let Some((_, master)) = masters.iter().find(|(name, _)| name == application) else { return none() };
    let local = cx.local();
    let all: Vec<ProcessInfo> = local
        .table
        .all()
        .iter()
        .map(|process| ProcessInfo::of(&**process))
        .filter(|info| info.pid == *master || info.group_leader == *master)
        .collect();
    let Some(root) = all.iter().find(|info| info.pid == *master) else { return none() };
    let by_pid: BTreeMap<&Pid, &ProcessInfo> = all.iter().map(|info| (&info.pid, info)).collect();
    let by_name: BTreeMap<&Atom, &ProcessInfo> =
        all.iter().filter_map(|info| Some((info.registered_name.as_ref()?, info))).collect();
    let parent = |info: &ProcessInfo| {
        let mut ancestors = info.ancestors.iter().filter_map(|ancestor| match ancestor {
            Term::Pid(pid) => by_pid.get(pid).copied(),
            Term::Atom(name) => by_name.get(name).copied(),
            _ => None,
        });
        // One whose parents have all gone belongs to the application, still.
        ancestors.next().unwrap_or(root)
    };
    let text = |text: String| Term::charlist(&text);
    let others = all.iter().filter(|info| info.pid != *master);
    let links = others.map(|info| Term::tuple([text(label(parent(info))), text(label(info))]));
    let links = Term::list(links.collect::<Vec<_>>());
    let processes = all.iter().map(|info| Term::tuple([info.pid.clone().into(), text(label(info))]));
    Term::tuple([text(label(root)), Term::list(processes.collect::<Vec<_>>()), links, Term::nil()])
}
