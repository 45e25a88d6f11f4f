//! Whether there is one order of all operations in which each took effect at a moment between its call and its answer.
//!
//! The search is that of Wing and Gong, with Lowe's memory of what was tried: *Testing for Linearizability*, 2017. It goes by keys, since
//! operations on different keys do not concern each other, and counts its steps, so that it gives up at the same place in every run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Checker, Verdict, Violation};
use crate::trace::Event;

/// What one copy of the data would do.
pub trait Model {
    /// What there is under one key.
    type State: Clone + Ord;

    /// What there is at first.
    fn start(&self) -> Self::State;

    /// What there is after an operation with this result, if it can have it; without a result, with any that it can have.
    fn step(&self, state: &Self::State, operation: &str, result: Option<&str>) -> Option<Self::State>;
}

/// A register: `read` gives what was last written, or `none`; `write X` gives `ok`; `cas X Y` gives `ok` and writes Y if X is there, and else gives
/// `no`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Register;

impl Model for Register {
    type State = String;

    fn start(&self) -> String {
        "none".to_owned()
    }

    fn step(&self, state: &String, operation: &str, result: Option<&str>) -> Option<String> {
        let fields: Vec<_> = operation.split(' ').collect();
        let (answer, next) = match fields.as_slice() {
            ["read"] => (state.as_str(), state.as_str()),
            ["write", value] => ("ok", *value),
            ["cas", from, to] if from == state => ("ok", *to),
            ["cas", ..] => ("no", state.as_str()),
            _ => return None,
        };
        result.is_none_or(|result| result == answer).then(|| next.to_owned())
    }
}

/// Clients' [operations](super::Report::invoke) had the answers that one copy of the data could have given. A failed one had no effect; one whose
/// outcome is unknown may have had, or have it later.
#[derive(Debug)]
pub struct Linearizability<M> {
    model: M,
    steps: usize,
    histories: BTreeMap<String, History>,
    at: Duration,
}

#[derive(Debug, Default)]
struct History {
    operations: Vec<Operation>,
    /// The calls and answers in their order.
    entries: Vec<Entry>,
    /// What each client waits for.
    open: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Operation {
    client: String,
    text: String,
    result: Option<String>,
    called: Duration,
    answered: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Call(usize),
    Answer(usize),
}

impl<M: Model> Linearizability<M> {
    /// Compares with a model; no search takes more than a million steps.
    pub fn new(model: M) -> Self {
        Self { model, steps: 1_000_000, histories: BTreeMap::new(), at: Duration::ZERO }
    }

    /// How many steps the search may take for each key, before the checker says that it could not find out.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }
}

impl<M: Model> Checker for Linearizability<M> {
    fn property(&self) -> &'static str {
        "linearizability"
    }

    fn event(&mut self, event: &Event) -> Result<(), Violation> {
        self.at = event.at;
        if !matches!(event.kind.as_str(), "invoke" | "return" | "fail" | "unknown") {
            return Ok(());
        }
        let mut fields = event.detail.splitn(3, ' ');
        let mut field = || fields.next().unwrap_or_default().to_owned();
        let (client, key, text) = (field(), field(), field());
        let history = self.histories.entry(key).or_default();
        if event.kind == "invoke" {
            let number = history.operations.len();
            history.open.insert(client.clone(), number);
            history.entries.push(Entry::Call(number));
            let operation = Operation { client, text, result: None, called: event.at, answered: None };
            history.operations.push(operation);
            return Ok(());
        }
        let Some(number) = history.open.remove(&client) else { return Ok(()) };
        match event.kind.as_str() {
            "return" => {
                history.entries.push(Entry::Answer(number));
                let operation = &mut history.operations[number];
                (operation.result, operation.answered) = (Some(text), Some(event.at));
            }
            "fail" => history.entries.retain(|entry| *entry != Entry::Call(number)),
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Verdict {
        let mut undecided = None;
        for (key, history) in &self.histories {
            match search(&self.model, history, self.steps) {
                Found::Order => {}
                Found::None { done } => {
                    let text = format!("no order of the operations on {key} explains their answers");
                    let violation = Violation::at_end("linearizability", self.at, text);
                    return Verdict::Violated(violation.with(explain(history, &done)));
                }
                Found::GaveUp => {
                    let operations = history.operations.len();
                    undecided.get_or_insert(format!(
                        "the {operations} operations on {key} take more than {} steps to put in order",
                        self.steps
                    ));
                }
            }
        }
        undecided.map_or(Verdict::Holds, Verdict::Undecided)
    }
}

enum Found {
    Order,
    /// There is none; the longest that was found has these operations.
    None {
        done: Vec<usize>,
    },
    GaveUp,
}

/// The entries that are not yet put in order, as a list in both directions; the last place is its head.
struct List {
    next: Vec<usize>,
    before: Vec<usize>,
}

impl List {
    fn new(len: usize) -> Self {
        let next = (1..=len).chain([0]).collect();
        let before = [len].into_iter().chain(0..len).collect();
        Self { next, before }
    }

    fn remove(&mut self, at: usize) {
        let (before, next) = (self.before[at], self.next[at]);
        self.next[before] = next;
        self.before[next] = before;
    }

    /// Undoes the last removal that was not undone.
    fn restore(&mut self, at: usize) {
        let (before, next) = (self.before[at], self.next[at]);
        self.next[before] = at;
        self.before[next] = at;
    }
}

fn search<M: Model>(model: &M, history: &History, steps: usize) -> Found {
    let entries = &history.entries;
    let head = entries.len();
    let mut answers = vec![None; history.operations.len()];
    for (at, entry) in entries.iter().enumerate() {
        if let Entry::Answer(number) = entry {
            answers[*number] = Some(at);
        }
    }
    let mut list = List::new(head);
    let mut done = vec![0_u64; history.operations.len().div_ceil(64)];
    let mut tried = BTreeSet::new();
    let mut state = model.start();
    let mut order: Vec<(usize, M::State)> = Vec::new();
    let mut longest: Vec<usize> = Vec::new();
    let number_at = |at: usize| match entries[at] {
        Entry::Call(number) | Entry::Answer(number) => number,
    };
    let mut at = list.next[head];
    for _ in 0..steps {
        match entries.get(at) {
            // Only operations without an answer are left, and those need not have taken effect.
            None => return Found::Order,
            Some(Entry::Call(number)) => {
                let operation = &history.operations[*number];
                let next = model.step(&state, &operation.text, operation.result.as_deref());
                let (word, bit) = (number / 64, 1 << (number % 64));
                done[word] |= bit;
                match next {
                    Some(next) if tried.insert((done.clone(), next.clone())) => {
                        order.push((at, std::mem::replace(&mut state, next)));
                        list.remove(at);
                        if let Some(answer) = answers[*number] {
                            list.remove(answer);
                        }
                        at = list.next[head];
                    }
                    _ => {
                        done[word] &= !bit;
                        at = list.next[at];
                    }
                }
            }
            // It must have taken effect by now: another order is to be tried.
            Some(Entry::Answer(_)) => {
                if order.len() > longest.len() {
                    longest = order.iter().map(|(at, _)| number_at(*at)).collect();
                }
                let Some((last, before)) = order.pop() else { return Found::None { done: longest } };
                let number = number_at(last);
                state = before;
                done[number / 64] &= !(1 << (number % 64));
                if let Some(answer) = answers[number] {
                    list.restore(answer);
                }
                list.restore(last);
                at = list.next[last];
            }
        }
    }
    Found::GaveUp
}

/// The longest order that was found, and what does not fit behind it.
fn explain(history: &History, done: &[usize]) -> Vec<String> {
    let line = |number: usize| {
        let Operation { client, text, result, called, answered } = &history.operations[number];
        let answered = answered.map_or("-".to_owned(), |at| format!("{at:?}"));
        format!("{called:?}..{answered} {client}: {text} -> {}", result.as_deref().unwrap_or("?"))
    };
    let shown = done.len().saturating_sub(10);
    let fits = done.iter().skip(shown).map(|number| line(*number));
    let rest = (0..history.operations.len())
        .filter(|number| !done.contains(number) && history.entries.contains(&Entry::Answer(*number)));
    let rest = rest.take(10).map(|number| format!("does not fit: {}", line(number)));
    fits.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_core::{Rng, SeedableRng};

    use super::super::testing::{check, holds, violated};
    use super::*;

    fn register() -> Linearizability<Register> {
        Linearizability::new(Register)
    }

    #[test]
    fn overlapping_operations_may_take_effect_in_either_order() {
        holds(
            register(),
            "1 c#1 invoke c k write 1\n2 c#1 invoke d k read\n3 c#1 return d k none\n4 c#1 return c k ok\n5 c#1 invoke d k read\n6 c#1 return d k 1",
        );
        holds(
            register(),
            "1 c#1 invoke c k write 1\n2 c#1 invoke d k read\n3 c#1 return d k 1\n4 c#1 return c k ok",
        );
    }

    #[test]
    fn a_stale_read_is_found() {
        violated(
            register(),
            "1 c#1 invoke c k write 1\n2 c#1 return c k ok\n3 c#1 invoke d k read\n4 c#1 return d k none",
            "no order of the operations on k",
        );
        // What was read once cannot be unread.
        violated(
            register(),
            "1 c#1 invoke c k write 1\n2 c#1 invoke d k read\n3 c#1 return d k 1\n4 c#1 invoke d k read\n5 c#1 return d k none",
            "no order",
        );
        // Another key is another register.
        holds(
            register(),
            "1 c#1 invoke c k write 1\n2 c#1 return c k ok\n3 c#1 invoke d j read\n4 c#1 return d j none",
        );
    }

    #[test]
    fn an_unknown_outcome_may_come_late_or_never_and_a_failed_one_never() {
        let unknown = "1 c#1 invoke c k write 1\n2 c#1 unknown c k timeout\n3 c#1 invoke d k read\n";
        holds(register(), &format!("{unknown}4 c#1 return d k none"));
        holds(
            register(),
            &format!("{unknown}4 c#1 return d k none\n5 c#1 invoke d k read\n6 c#1 return d k 1"),
        );
        violated(
            register(),
            "1 c#1 invoke c k write 1\n2 c#1 fail c k refused\n3 c#1 invoke d k read\n4 c#1 return d k 1",
            "no order",
        );
    }

    #[test]
    fn what_takes_too_many_steps_is_no_pass() {
        let run = "1 c#1 invoke c k write 1\n2 c#1 return c k ok";
        assert!(matches!(check(register().steps(1), run), Verdict::Undecided(_)));
        holds(register().steps(3), run);
    }

    /// Whether any order of all that was answered and some of what was not fits: by trying each.
    fn brute_force(history: &History, done: &mut Vec<usize>, state: &str) -> bool {
        let answered = |number: usize| history.entries.iter().position(|it| *it == Entry::Answer(number));
        let left = (0..history.operations.len()).filter(|number| !done.contains(number)).collect::<Vec<_>>();
        if left.iter().all(|number| answered(*number).is_none()) {
            return true;
        }
        left.iter().any(|number| {
            let call = history.entries.iter().position(|it| *it == Entry::Call(*number)).unwrap();
            // None that is left was answered before this one was called.
            if left.iter().any(|other| answered(*other).is_some_and(|answer| answer < call)) {
                return false;
            }
            let operation = &history.operations[*number];
            let next = Register.step(&state.to_owned(), &operation.text, operation.result.as_deref());
            next.is_some_and(|next| {
                done.push(*number);
                let fits = brute_force(history, done, &next);
                done.pop();
                fits
            })
        })
    }

    #[test]
    fn it_says_what_trying_all_orders_says() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut below = |n: u32| random.next_u32() % n;
        let (mut fits, mut does_not) = (0, 0);
        for _ in 0..3000 {
            let mut checker = register();
            let mut open = [false; 4];
            let mut told = |client: u32, kind: &str, text: &str| {
                let detail = format!("{client} k {text}");
                let (at, node) = (Duration::ZERO, "c".to_owned());
                let event = Event { at, node, incarnation: 1, kind: kind.to_owned(), detail };
                checker.event(&event).unwrap();
            };
            let mut kinds = [0; 4];
            for _ in 0..14 {
                let client = below(4);
                let is_open = &mut open[client as usize];
                if *is_open {
                    let result = match (kinds[client as usize], below(8)) {
                        (0, 0) => "none".to_owned(),
                        (0, _) => below(3).to_string(),
                        (2, 0..=3) => "no".to_owned(),
                        _ => "ok".to_owned(),
                    };
                    // A client whose operation stays open asks for nothing more here.
                    if below(6) > 0 {
                        told(client, "return", &result);
                        *is_open = false;
                    }
                } else {
                    let (kind, value) = (below(3), below(3));
                    kinds[client as usize] = kind;
                    let text = match kind {
                        0 => "read".to_owned(),
                        1 => format!("write {value}"),
                        _ => format!("cas {value} {}", below(3)),
                    };
                    told(client, "invoke", &text);
                    *is_open = true;
                }
            }
            let history = &checker.histories["k"];
            let expected = brute_force(history, &mut Vec::new(), "none");
            let found = matches!(search(&Register, history, 1_000_000), Found::Order);
            assert_eq!(found, expected, "{history:#?}");
            if expected { fits += 1 } else { does_not += 1 }
        }
        assert!(fits > 300 && does_not > 300, "{fits} that fit, {does_not} that do not");
    }
}
