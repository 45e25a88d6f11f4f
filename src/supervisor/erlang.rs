//! Child specifications as Erlang writes them.
//!
//! Source: `check_childspec/2` in `supervisor.erl`, whose errors these are.

use std::sync::Arc;
use std::time::Duration;

use super::spec::{ChildSpec, ChildType, Exported, Restart, Shutdown};
use super::start::{Parent, StartFn};
use crate::process::ExitReason;
use crate::term::{Atom, Term};

fn atom(text: &'static str) -> Term {
    Atom::from_static(text).into()
}

impl ChildType {
    pub(crate) fn to_term(self) -> Term {
        atom(match self {
            Self::Worker => "worker",
            Self::Supervisor => "supervisor",
        })
    }
}

impl Restart {
    fn to_term(self) -> Term {
        atom(match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
            Self::Temporary => "temporary",
        })
    }
}

impl Shutdown {
    fn to_term(self) -> Term {
        match self {
            Self::BrutalKill => atom("brutal_kill"),
            Self::Infinity => atom("infinity"),
            Self::Timeout(limit) => Term::from(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

impl ChildSpec {
    /// Reads a map or the older tuple.
    ///
    /// # Errors
    /// What OTP says of it.
    pub(super) fn from_term(term: Term, exported: &[Exported]) -> Result<Self, Term> {
        let invalid = |what, value: &Term| Err(Term::tuple([atom(what), value.clone()]));
        let keys = ["id", "start", "restart", "shutdown", "type", "modules"];
        let field = |key: &str| match term.as_map() {
            Some(map) => map.get_atom(key).cloned(),
            None => term.as_tuple()?.get(keys.iter().position(|it| *it == key)?).cloned(),
        };
        if term.as_map().is_none() && term.as_tuple().is_none_or(|tuple| tuple.len() != keys.len()) {
            return invalid("invalid_child_spec", &term);
        }
        let id = field("id").ok_or_else(|| atom("missing_id"))?;
        let mfa = field("start").ok_or_else(|| atom("missing_start"))?;
        let Some((module, function, args)) = parts(&mfa) else { return invalid("invalid_mfa", &mfa) };
        let restart = match field("restart") {
            None => Restart::Permanent,
            Some(restart) => match restart.as_atom().map_or("", Atom::as_str) {
                "permanent" => Restart::Permanent,
                "transient" => Restart::Transient,
                "temporary" => Restart::Temporary,
                _ => return invalid("invalid_restart_type", &restart),
            },
        };
        let significant = match field("significant") {
            None => false,
            Some(significant) => match significant.as_bool() {
                Some(significant) => significant,
                None => return invalid("invalid_significant", &significant),
            },
        };
        let child_type = match field("type") {
            None => ChildType::Worker,
            Some(child_type) => match child_type.as_atom().map_or("", Atom::as_str) {
                "worker" => ChildType::Worker,
                "supervisor" => ChildType::Supervisor,
                _ => return invalid("invalid_child_type", &child_type),
            },
        };
        let shutdown = match field("shutdown") {
            None if child_type == ChildType::Supervisor => Shutdown::Infinity,
            None => Shutdown::Timeout(Duration::from_secs(5)),
            Some(shutdown) if shutdown.is_atom("infinity") => Shutdown::Infinity,
            Some(shutdown) if shutdown.is_atom("brutal_kill") => Shutdown::BrutalKill,
            Some(shutdown) => match shutdown.as_integer().and_then(|ms| u64::try_from(ms).ok()) {
                Some(ms) => Shutdown::Timeout(Duration::from_millis(ms)),
                None => return invalid("invalid_shutdown", &shutdown),
            },
        };
        let modules = match field("modules") {
            None => Term::list([Term::from(module.clone())]),
            Some(modules) if modules.is_atom("dynamic") => modules,
            Some(modules) => match modules.as_list() {
                None => return invalid("invalid_modules", &modules),
                Some(list) => match list.iter().find(|module| module.as_atom().is_none()) {
                    Some(module) => return invalid("invalid_module", module),
                    None => modules,
                },
            },
        };
        let start = start(&module, &function, args, exported);
        let spec =
            Self { restart, significant, child_type, shutdown, modules, ..Self::of(id, start, &module) };
        Ok(Self { mfa, ..spec })
    }

    /// The specification as a map.
    pub(super) fn to_term(&self) -> Term {
        Term::map([
            (atom("id"), self.id.clone()),
            (atom("start"), self.mfa.clone()),
            (atom("restart"), self.restart.to_term()),
            (atom("significant"), self.significant.into()),
            (atom("shutdown"), self.shutdown.to_term()),
            (atom("type"), self.child_type.to_term()),
            (atom("modules"), self.modules.clone()),
        ])
    }

    /// The record `child` of OTP's supervisor, for a child that did not start.
    pub(super) fn to_record(&self) -> Term {
        Term::tuple([
            atom("child"),
            atom("undefined"),
            self.id.clone(),
            self.mfa.clone(),
            self.restart.to_term(),
            self.significant.into(),
            self.shutdown.to_term(),
            self.child_type.to_term(),
            self.modules.clone(),
        ])
    }
}

/// `{Module, Function, Args}`.
fn parts(mfa: &Term) -> Option<(Atom, Atom, Vec<Term>)> {
    let [module, function, args] = mfa.as_tuple()? else { return None };
    Some((module.as_atom()?.clone(), function.as_atom()?.clone(), args.as_list()?.to_vec()))
}

/// What starts `Module:Function(Args...)`: nothing does unless it was exported.
fn start(module: &Atom, function: &Atom, args: Vec<Term>, exported: &[Exported]) -> StartFn {
    let found = exported.iter().find(|it| it.module == *module && it.function == *function);
    if let Some(Exported { start, .. }) = found {
        let start = start.clone();
        return Arc::new(move |parent: &Parent| start(parent, args.clone()));
    }
    let frame =
        Term::tuple([module.clone().into(), function.clone().into(), Term::list(args), Term::list([])]);
    let undef = Term::tuple([atom("undef"), Term::list([frame])]);
    let undef = ExitReason::Term(Term::tuple([atom("EXIT"), undef]));
    Arc::new(move |_| {
        let undef = undef.clone();
        Box::pin(async move { Err(undef) })
    })
}
