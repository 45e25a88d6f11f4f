//! Requests as Erlang sends them; their answers are those of OTP 25's `sys`.

use std::time::{Duration, SystemTime};

use super::*;
use crate::etf::Limits;

fn term(text: &str) -> Term {
    Term::parse(text, &Limits::default()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn ask(debug: &mut Option<Debug>, request: &str) -> Request {
    ask_at(debug, request, 0)
}

fn ask_at(debug: &mut Option<Debug>, request: &str, second: u64) -> Request {
    Request::read(term(request), debug, SystemTime::UNIX_EPOCH + Duration::from_secs(second))
}

fn answer(text: &str) -> Request {
    Request::Answer(term(text))
}

#[test]
fn what_concerns_the_server_is_left_to_it() {
    let mut debug = None;
    assert_eq!(ask(&mut debug, "get_state"), Request::GetState);
    assert_eq!(ask(&mut debug, "get_status"), Request::GetStatus);
    assert_eq!(ask(&mut debug, "suspend"), Request::Suspend);
    assert_eq!(ask(&mut debug, "resume"), Request::Resume);
    let end = Request::Terminate(ExitReason::ShutdownWith(Term::atom("why")));
    assert_eq!(ask(&mut debug, "{terminate, {shutdown, why}}"), end);
    assert!(debug.is_none());
}

#[test]
fn a_log_keeps_the_last_events() {
    let mut debug = None;
    assert_eq!(ask(&mut debug, "{debug, {log, get}}"), answer("{ok, []}"));
    assert_eq!(ask(&mut debug, "{debug, {log, {true, 2}}}"), answer("ok"));
    let name = term("server");
    for n in 1..=3 {
        debug.as_mut().unwrap().event(&name, Term::tuple([Term::atom("in"), Term::from(n)]));
    }
    assert_eq!(ask(&mut debug, "{debug, {log, get}}"), answer("{ok, [{in, 2}, {in, 3}]}"));
    // What is kept already goes on as before.
    assert_eq!(ask(&mut debug, "{debug, {log, {true, 5}}}"), answer("ok"));
    debug.as_mut().unwrap().event(&name, term("{noreply, s}"));
    assert_eq!(ask(&mut debug, "{debug, {log, get}}"), answer("{ok, [{in, 3}, {noreply, s}]}"));
    // Without a number it is ten.
    assert_eq!(ask(&mut debug, "{debug, {log, false}}"), answer("ok"));
    assert_eq!(ask(&mut debug, "{debug, {log, true}}"), answer("ok"));
    for n in 1..=11 {
        debug.as_mut().unwrap().event(&name, Term::tuple([Term::atom("in"), Term::from(n)]));
    }
    assert_eq!(debug.as_ref().unwrap().logged().len(), 10);
    assert_eq!(ask(&mut debug, "{debug, no_debug}"), answer("ok"));
    assert!(debug.is_none(), "a server that nobody looks at keeps nothing");
}

#[test]
fn statistics_count_messages() {
    let mut debug = None;
    assert_eq!(ask(&mut debug, "{debug, {statistics, get}}"), answer("{ok, no_statistics}"));
    assert_eq!(ask_at(&mut debug, "{debug, {statistics, true}}", 951_826_799), answer("ok"));
    let name = term("server");
    // As a gen_server tells them, and as a gen_statem does.
    for event in
        ["{in, a}", "{noreply, s}", "{in, {cast, b}, s}", "{consume, {cast, b}, s, s}", "{out, r, t, s}"]
    {
        debug.as_mut().unwrap().event(&name, term(event));
    }
    // The times are what `calendar:gregorian_seconds_to_datetime/1` says of them, over the end of a February with 29 days.
    let counted = answer(
        "{ok, [{start_time, {{2000,2,29},{12,19,59}}}, {current_time, {{2000,3,1},{12,20,0}}},
               {reductions, 0}, {messages_in, 2}, {messages_out, 1}]}",
    );
    assert_eq!(ask_at(&mut debug, "{debug, {statistics, get}}", 951_826_799 + 86_401), counted);
    assert_eq!(ask(&mut debug, "{debug, {statistics, false}}"), answer("ok"));
    assert!(debug.is_none());
}

#[test]
fn what_cannot_be_done_is_said() {
    let mut debug = None;
    assert_eq!(ask(&mut debug, "{replace_state, f}"), Request::Callback("system_replace_state"));
    assert_eq!(ask(&mut debug, "{change_code, m, v, e}"), Request::Callback("system_code_change"));
    let cases = [
        ("{debug, {install, {f, s}}}", "unknown_debug"),
        ("{debug, {log, {true, 0}}}", "unknown_debug"),
        ("{debug, nonsense}", "unknown_debug"),
        ("{debug, {log_to_file, \"/tmp/x\"}}", "{error, open_file}"),
        ("nonsense", "{error, {unknown_system_msg, nonsense}}"),
        ("{some, [thing]}", "{error, {unknown_system_msg, {some, [thing]}}}"),
    ];
    for (request, expected) in cases {
        assert_eq!(ask(&mut debug, request), answer(expected), "{request}");
    }
    assert!(debug.is_none());
}

#[test]
fn a_log_of_any_length_is_bounded() {
    let mut debug = None;
    ask(&mut debug, "{debug, {log, {true, 1000000000000}}}");
    for n in 0..LOG_LIMIT + 5 {
        debug.as_mut().unwrap().event(&term("server"), Term::tuple([Term::atom("in"), Term::from(n as i64)]));
    }
    assert_eq!(debug.unwrap().logged().len(), LOG_LIMIT);
}

const LOG_LIMIT: usize = debug::LOG_MAX;
