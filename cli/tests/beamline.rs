//! `beamline` as its users call it.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use beamline_interop::{erl, free_port};

const PROGRAM: &str = env!("CARGO_BIN_EXE_beamline");

/// The tool, with an EPMD and a home of the test's own.
fn beamline(epmd_port: u16, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(args)
        .env("ERL_EPMD_PORT", epmd_port.to_string())
        .env("BEAMLINE_COOKIE", "secret")
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null());
    command
}

/// What the tool printed, and its exit code.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the tool prints UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

fn run(epmd_port: u16, args: &[&str]) -> Done {
    beamline(epmd_port, args).output().expect("the tool runs").into()
}

/// Runs the tool for its whole standard output.
fn done(epmd_port: u16, args: &[&str]) -> String {
    let done = run(epmd_port, args);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{args:?}");
    done.out
}

/// Runs the tool for what it complains of.
fn failure(code: i32, epmd_port: u16, args: &[&str]) -> String {
    let done = run(epmd_port, args);
    assert_eq!((done.code, done.out.as_str()), (Some(code), ""), "{args:?}: {}", done.err);
    done.err
}

/// `beamline node`, killed with its test.
struct Node {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Node {
    fn start(epmd_port: u16, args: &[&str]) -> Self {
        let mut command = beamline(epmd_port, &["node", "--listen", "127.0.0.1"]);
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().expect("the tool runs");
        let lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
        let mut node = Self { child, lines };
        let ready = node.line();
        assert!(ready.starts_with(&format!("ready {} port=", args[0])), "{ready}");
        node
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the node runs").expect("its output can be read")
    }

    /// As Ctrl-C does.
    fn interrupt(mut self) -> Option<i32> {
        let killed = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(killed.expect("kill runs").success());
        assert_eq!(self.line(), "stopped");
        self.child.wait().expect("it can be waited for").code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn demo(set: impl FnOnce(&mut Command)) -> Done {
    let mut command = beamline(free_port(), &[]);
    set(&mut command);
    command.output().expect("the tool runs").into()
}

/// The titles of the demo's steps, in order.
fn steps(out: &str) -> Vec<&str> {
    let title = |line: &'_ str| line.get(..2).is_some_and(|number| number.trim().parse::<u32>().is_ok());
    out.lines().filter(|line| title(line)).map(|line| line[2..].trim()).collect()
}

const RUST_STEPS: [&str; 7] = [
    "Two nodes",
    "Connect",
    "Call a server on the other node",
    "Reply later",
    "Link",
    "Monitor, and a crash",
    "Alias",
];

const ERLANG_STEPS: [&str; 6] = [
    "A stock Erlang node",
    "Erlang calls Rust",
    "Rust calls Erlang",
    "Erlang links to and monitors Rust",
    "Rust monitors Erlang",
    "A node is lost",
];

#[test]
fn without_erl_the_demo_shows_the_steps_among_rust_nodes_and_says_what_is_missing() {
    let done = demo(|command| {
        command.env("PATH", "").env_remove("BEAMLINE_ERL");
    });
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{}", done.out);
    assert_eq!(steps(&done.out), RUST_STEPS);
    assert!(done.out.contains("There is no erl on the PATH."), "{}", done.out);
    assert!(done.out.contains("apt install erlang-base"), "{}", done.out);
    assert!(done.out.contains("All 7 steps went as they should."), "{}", done.out);
    assert!(done.out.contains("{{rust_panic,<<\"told to crash\">>},"), "{}", done.out);
    // A pipe gets no colours.
    assert!(!done.out.contains('\x1b'), "{}", done.out);
}

#[test]
fn the_demo_names_an_erl_that_is_not_there() {
    let done = demo(|command| {
        command.env("BEAMLINE_ERL", "/nonexistent/erl");
    });
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{}", done.out);
    assert!(done.out.contains("BEAMLINE_ERL is /nonexistent/erl, and there is no such file"), "{}", done.out);
}

#[test]
fn a_demo_that_goes_wrong_says_where_and_fails() {
    let done = demo(|command| {
        // It runs, and is no Erlang.
        command.env("BEAMLINE_ERL", "false");
    });
    assert_eq!(done.code, Some(1), "{}", done.out);
    assert!(
        done.err.starts_with("beamline: the demo failed in step 8: erl has ended; it printed: nothing"),
        "{}",
        done.err
    );
    assert_eq!(done.err.lines().count(), 1, "{}", done.err);
}

#[test]
fn with_erl_the_demo_shows_all_steps() {
    if erl().is_none() {
        return;
    }
    let done = demo(|_| {});
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{}", done.out);
    assert_eq!(steps(&done.out), [RUST_STEPS.as_slice(), ERLANG_STEPS.as_slice()].concat());
    assert!(done.out.contains("All 13 steps went as they should."), "{}", done.out);
}

#[test]
fn the_commands_reach_a_beamline_node() {
    let epmd = free_port();
    let mut shop = Node::start(epmd, &["shop@127.0.0.1"]);
    assert_eq!(done(epmd, &["ping", "shop@127.0.0.1"]), "pong\n");
    let term = "{hello,[1,2.5,<<\"text\">>|'a tail'],#{a => \"b\"}}";
    assert_eq!(done(epmd, &["call", "shop@127.0.0.1", "echo", term]), format!("{term}\n"));
    assert_eq!(done(epmd, &["call", "shop@127.0.0.1", "'echo'", "-5"]), "-5\n");
    assert_eq!(done(epmd, &["cast", "shop@127.0.0.1", "echo", "{a, 1}"]), "ok\n");
    assert_eq!(shop.line(), "cast {a,1}");
    assert_eq!(done(epmd, &["send", "shop@127.0.0.1", "echo", "{b, 2}"]), "ok\n");
    assert_eq!(shop.line(), "message {b,2}");
    let names = done(epmd, &["names"]);
    let rows: Vec<Vec<&str>> = names.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((rows.len(), rows[0].as_slice(), rows[1][0]), (2, ["NAME", "PORT"].as_slice(), "shop"));
    assert_eq!(shop.interrupt(), Some(0));
}

#[test]
fn a_node_prints_the_nodes_that_come_and_go() {
    let epmd = free_port();
    let mut shop = Node::start(epmd, &["shop@127.0.0.1"]);
    let mut bank = Node::start(epmd, &["bank@127.0.0.1", "--peer", "shop@127.0.0.1"]);
    assert_eq!(shop.line(), "nodeup 'bank@127.0.0.1'");
    assert_eq!(bank.line(), "nodeup 'shop@127.0.0.1'");
    assert_eq!(bank.interrupt(), Some(0));
    assert_eq!(shop.line(), "nodedown 'bank@127.0.0.1'");
}

#[test]
fn a_fault_is_one_line_that_names_it() {
    let epmd = free_port();
    let no_epmd = failure(1, epmd, &["ping", "shop@127.0.0.1"]);
    assert!(no_epmd.starts_with(&format!("beamline: no EPMD answers at 127.0.0.1:{epmd} (")), "{no_epmd}");
    let _shop = Node::start(epmd, &["shop@127.0.0.1"]);
    let cases: [(&[&str], String); 7] = [
        (
            &["ping", "nope@127.0.0.1"],
            format!("no node 'nope@127.0.0.1' is registered with EPMD at 127.0.0.1:{epmd}, which knows shop"),
        ),
        (
            &["ping", "shop@127.0.0.1", "--cookie", "wrong"],
            "'shop@127.0.0.1' closed the connection; most likely its cookie is not ours, \
             which is from --cookie or BEAMLINE_COOKIE"
                .to_owned(),
        ),
        (
            &["ping", "shop@localhost"],
            "the node there is 'shop@127.0.0.1', not shop@localhost; a node answers to its whole name only"
                .to_owned(),
        ),
        (
            &["call", "shop@127.0.0.1", "nobody", "hello"],
            "no process is registered as nobody on 'shop@127.0.0.1' (noproc)".to_owned(),
        ),
        (
            &["send", "shop@127.0.0.1", "nobody", "hello"],
            "no process is registered as nobody on 'shop@127.0.0.1' (noproc)".to_owned(),
        ),
        (
            &["rpc", "shop@127.0.0.1", "erlang", "node"],
            "erlang:node/0 on 'shop@127.0.0.1' is not there, or not exported (undef), or calls what is not there: \
             [{erlang,node,[],[]}]"
                .to_owned(),
        ),
        (
            &["node", "shop@127.0.0.1"],
            format!("EPMD at 127.0.0.1:{epmd} refuses the name shop: another node is registered under it"),
        ),
    ];
    for (args, fault) in cases {
        assert_eq!(failure(1, epmd, args), format!("beamline: {fault}\n"), "{args:?}");
    }
}

#[test]
fn a_text_that_is_no_term_is_shown_with_the_place_of_its_fault() {
    let fault = failure(2, free_port(), &["call", "shop@127.0.0.1", "echo", "{add, }"]);
    assert_eq!(
        fault,
        "beamline: not a term in Erlang's syntax: here has to be a term\n  {add, }\n        ^\n"
    );
}

#[test]
fn a_command_line_that_is_wrong_exits_with_2() {
    for args in [&["ping", "shop"][..], &["ping"], &["pong", "shop@127.0.0.1"], &["ping", "a@b@c"]] {
        assert!(failure(2, free_port(), args).contains("--help"), "{args:?}");
    }
}

#[test]
fn the_cookie_is_that_of_the_option_then_the_variable_then_the_file() {
    let epmd = free_port();
    let _shop = Node::start(epmd, &["shop@127.0.0.1"]);
    let home = std::env::temp_dir().join(format!("beamline-cookie-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join(".erlang.cookie"), "secret").unwrap();
    let ping = |set: &dyn Fn(&mut Command)| {
        let mut command = beamline(epmd, &["ping", "shop@127.0.0.1"]);
        set(&mut command);
        Done::from(command.output().unwrap())
    };
    let of_file = ping(&|command| {
        command.env_remove("BEAMLINE_COOKIE").env("HOME", &home);
    });
    let of_variable = ping(&|command| {
        command.env("BEAMLINE_COOKIE", "wrong").env("HOME", &home);
    });
    let of_option = ping(&|command| {
        command.env("BEAMLINE_COOKIE", "wrong").args(["--cookie", "secret"]);
    });
    let of_nothing = ping(&|command| {
        command.env_remove("BEAMLINE_COOKIE");
    });
    std::fs::remove_dir_all(&home).unwrap();
    assert_eq!((of_file.code, of_variable.code, of_option.code), (Some(0), Some(1), Some(0)));
    assert_eq!(of_nothing.code, Some(1));
    let told = "beamline: no cookie: give --cookie, or set BEAMLINE_COOKIE (/nonexistent/.erlang.cookie: ";
    assert!(of_nothing.err.starts_with(told), "{}", of_nothing.err);
}

#[tokio::test]
async fn the_commands_reach_erlang_nodes_with_long_and_short_names() {
    let Some(erl) = erl() else { return };
    let epmd = free_port();
    // For its EPMD.
    let _shop = Node::start(epmd, &["shop@127.0.0.1"]);
    for name in ["app@127.0.0.1", "short@localhost"] {
        let mut app = erl.node(name, epmd).cookie("secret").start().await;
        assert_eq!(done(epmd, &["ping", name]), "pong\n");
        let applications = done(epmd, &["call", name, "application_controller", "which_applications"]);
        assert!(applications.starts_with("[{stdlib,\"ERTS  CXC 138 10\",\""), "{applications}");
        app.eval("register(test, self())").await;
        assert_eq!(done(epmd, &["send", name, "test", "{<<\"a\">>, 1.0}"]), "ok\n");
        assert_eq!(app.eval("receive {<<\"a\">>, 1.0} -> got end").await, "got");
        assert_eq!(done(epmd, &["cast", name, "test", "[]"]), "ok\n");
        assert_eq!(app.eval("receive {'$gen_cast', []} -> got end").await, "got");
        let nobody = failure(1, epmd, &["cast", name, "nobody", "[]"]);
        assert!(nobody.contains("no process is registered as nobody on"), "{nobody}");
        let mute = failure(1, epmd, &["call", name, "test", "hello", "--timeout", "0.2"]);
        assert!(mute.contains("did not reply within 200ms"), "{mute}");
        assert_eq!(done(epmd, &["rpc", name, "erlang", "abs", "-7"]), "7\n");
        assert_eq!(done(epmd, &["rpc", name, "lists", "sort", "[b, 1, \"text\"]"]), "[1,b,\"text\"]\n");
        // What it prints comes out here, before what it returns.
        assert_eq!(done(epmd, &["rpc", name, "io", "format", "\"~p ~ts~n\"", "[a, [233]]"]), "a é\nok\n");
        let why = |arguments: &[&str]| {
            let why = failure(1, epmd, &[&["rpc", name], arguments].concat());
            why.trim_start_matches("beamline: ").replace(&name.to_owned(), "NODE").replace("'NODE'", "NODE")
        };
        assert!(
            why(&["erlang", "list_to_atom", "1"])
                .starts_with("erlang:list_to_atom/1 on NODE failed: badarg in [{")
        );
        assert_eq!(why(&["erlang", "exit", "bye"]), "erlang:exit/1 on NODE exited: bye\n");
        assert_eq!(why(&["erlang", "throw", "{a, 1}"]), "erlang:throw/1 on NODE threw {a,1}\n");
        let slow = why(&["timer", "sleep", "9000", "--timeout", "0.2"]);
        assert!(slow.starts_with("timer:sleep/1 on NODE did not return within 200ms"), "{slow}");
        let cookie = failure(1, epmd, &["ping", name, "--cookie", "wrong"]);
        assert!(cookie.contains("most likely its cookie is not ours"), "{cookie}");
        // They were hidden, and are gone as soon as Erlang has read the end of their connections.
        let gone = "(fun F() -> case nodes(connected) of [] -> gone; _ -> timer:sleep(5), F() end end)()";
        assert_eq!(app.eval(gone).await, "gone");
    }
}
