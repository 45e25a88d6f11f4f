//! A stock `erl` as a test's counterpart.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a node may take to start or to evaluate an expression. A bound for broken tests, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads an expression a line, evaluates it in one process that keeps its bindings, and answers in a line of its
/// own. Ends the node when the test's end of the pipe closes, so that no node outlives its test.
const EVALUATOR: &str = r#"
Eval = fun(Line, Bindings) ->
    {ok, Tokens, _} = erl_scan:string(Line),
    case erl_parse:parse_exprs(Tokens) of
        {ok, [{call, _, {atom, _, f}, []}]} -> {ok, []};
        {ok, Exprs} ->
            {value, Value, Next} = erl_eval:exprs(Exprs, Bindings),
            {Value, Next}
    end
end,
Loop = fun Loop(Bindings) ->
    case io:get_line(standard_io, "") of
        Line when is_list(Line) ->
            {Answer, Next} = try Eval(string:trim(Line), Bindings) of
                {Value, New} -> {io_lib:format("ok ~0tp", [Value]), New}
            catch Class:Reason:Stack ->
                {io_lib:format("error ~0tp", [{Class, Reason, Stack}]), Bindings}
            end,
            io:put_chars(["\nbeamline-interop ", Answer, "\n"]),
            Loop(Next);
        _ -> halt(0)
    end
end,
spawn(fun() ->
    io:setopts([{encoding, unicode}]),
    io:put_chars(["\nbeamline-interop ok ", erlang:system_info(otp_release), "\n"]),
    catch Loop([]),
    halt(3)
end).
"#;

/// Loads a module from its source text.
const LOADER: &str = r#"fun(Source) ->
    {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Source)),
    Parse = fun Parse([], [], Forms) -> lists:reverse(Forms);
                Parse([{dot, _} = Dot | Rest], Form, Forms) ->
                    {ok, Parsed} = erl_parse:parse_form(lists:reverse([Dot | Form])),
                    Parse(Rest, [], [Parsed | Forms]);
                Parse([Token | Rest], Form, Forms) -> Parse(Rest, [Token | Form], Forms) end,
    {ok, Module, Code, _} = compile:forms(Parse(Tokens, [], []), [return]),
    {module, Module} = code:load_binary(Module, atom_to_list(Module), Code) end"#;

/// A stock `erl`.
#[derive(Debug, Clone)]
pub struct Erl {
    command: String,
}

/// The `erl` to test against: that of the environment variable `BEAMLINE_ERL`, else the one on the path.
///
/// Without one the test is skipped, with a message; where `BEAMLINE_REQUIRE_ERL` is set it fails instead.
///
/// # Panics
/// If there is none and `BEAMLINE_REQUIRE_ERL` is set.
pub fn erl() -> Option<Erl> {
    // Once: it takes a busy machine seconds, in which whoever asks lets nobody else run, not even its own nodes.
    static FOUND: LazyLock<Result<Erl, String>> = LazyLock::new(|| {
        let command = std::env::var("BEAMLINE_ERL").unwrap_or_else(|_| "erl".to_owned());
        let found = Command::new(&command)
            .args(["-noshell", "-boot", "no_dot_erlang", "-eval", "halt()."])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match found {
            Ok(status) if status.success() => Ok(Erl { command }),
            other => Err(format!("{command} does not run ({other:?})")),
        }
    });
    FOUND.as_ref().inspect_err(|why| skipped(why)).ok().cloned()
}

/// A new directory that `erl` sees too, in the form that this program and that `erl` have for it.
///
/// An `erl` that sees another root of the file system is found by the environment variable `BEAMLINE_ERL_ROOT`, which has it.
///
/// # Panics
/// If it cannot be made.
pub fn shared_dir(name: &str) -> (PathBuf, PathBuf) {
    let root = PathBuf::from(std::env::var("BEAMLINE_ERL_ROOT").unwrap_or_else(|_| "/".to_owned()));
    let theirs = PathBuf::from(format!("/tmp/beamline-{name}-{}", std::process::id()));
    let ours = root.join(theirs.strip_prefix("/").expect("it is absolute"));
    std::fs::create_dir_all(&ours).unwrap_or_else(|error| panic!("{}: {error}", ours.display()));
    (ours, theirs)
}

/// Says that a test is skipped, also where the output of tests that pass is not shown.
///
/// # Panics
/// If `BEAMLINE_REQUIRE_ERL` is set.
pub fn skipped(why: &str) {
    assert!(std::env::var_os("BEAMLINE_REQUIRE_ERL").is_none(), "{why}, and BEAMLINE_REQUIRE_ERL is set");
    // The macros' output is captured.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

impl Erl {
    /// Whether it has an application of Erlang/OTP, such as `ssl`. Without it the test is skipped, as without `erl`.
    ///
    /// # Panics
    /// If it has not, and `BEAMLINE_REQUIRE_ERL` is set.
    pub fn has(&self, application: &str) -> bool {
        let eval = format!("case code:lib_dir({application}) of {{error, _}} -> halt(1); _ -> halt(0) end.");
        let asked = Command::new(&self.command)
            .args(["-noshell", "-boot", "no_dot_erlang", "-eval", &eval])
            .stdin(Stdio::null())
            .status();
        let has = asked.is_ok_and(|status| status.success());
        if !has {
            skipped(&format!("{} has no application {application}", self.command));
        }
        has
    }

    /// A node called `name` (with its host, such as `a@127.0.0.1`), registered with the EPMD on `epmd_port`, which
    /// has to run already. A host with a dot makes it a long name.
    pub fn node(&self, name: &str, epmd_port: u16) -> ErlNodeBuilder {
        ErlNodeBuilder {
            command: self.command.clone(),
            name: name.to_owned(),
            epmd_port,
            cookie: "beamline".to_owned(),
            args: Vec::new(),
        }
    }
}

/// How a node starts.
#[derive(Debug, Clone)]
pub struct ErlNodeBuilder {
    command: String,
    name: String,
    epmd_port: u16,
    cookie: String,
    args: Vec<String>,
}

impl ErlNodeBuilder {
    /// Its cookie; `beamline` if nothing is said.
    pub fn cookie(mut self, cookie: &str) -> Self {
        self.cookie = cookie.to_owned();
        self
    }

    /// Further arguments, such as `["-hidden"]` or `["-kernel", "net_ticktime", "4"]`.
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.args.extend(args.into_iter().map(str::to_owned));
        self
    }

    /// Starts the node and waits until it is up.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(self) -> ErlNode {
        match self.try_start().await {
            Ok(node) => node,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts the node and waits until it is up.
    ///
    /// # Errors
    /// What the node printed, if it ends before it is up (its name may be taken).
    ///
    /// # Panics
    /// If `erl` cannot be run at all, or hangs.
    pub async fn try_start(self) -> Result<ErlNode, String> {
        let host = self.name.split_once('@').map_or("", |(_, host)| host);
        let mut child = Command::new(&self.command)
            .arg(if host.contains('.') { "-name" } else { "-sname" })
            .args([&self.name, "-setcookie", &self.cookie])
            .args(["-noshell", "-boot", "no_dot_erlang", "-start_epmd", "false"])
            .args(&self.args)
            .args(["-eval", EVALUATOR])
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            // A node that aborts leaves no dump in the source tree.
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("erl runs, it did before");
        let stdin = child.stdin.take().expect("its standard input is piped");
        let stdout = child.stdout.take().expect("its standard output is piped");
        let (lines_in, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if lines_in.send(line).is_err() {
                    break;
                }
            }
        });
        let mut node = ErlNode { name: self.name, child, stdin: Some(stdin), lines, otp_release: 0 };
        let release =
            node.answer().await.map_err(|output| format!("{} did not start: {output}", node.name))?;
        node.otp_release = release.parse().expect("an OTP release is a number");
        Ok(node)
    }
}

/// A running node. Dropped, it is killed, as by SIGKILL.
#[derive(Debug)]
pub struct ErlNode {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::UnboundedReceiver<String>,
    otp_release: u32,
}

impl ErlNode {
    /// Its whole name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its release, such as 25.
    pub fn otp_release(&self) -> u32 {
        self.otp_release
    }

    /// The process id of its emulator.
    pub fn os_pid(&self) -> u32 {
        self.child.id()
    }

    /// Evaluates expressions (`A, B, C` without the full stop) and returns the last one's value as `~0tp` prints
    /// it, on one line. All are evaluated by the same process: variables stay bound (until `f()`, as in the shell), and
    /// messages to its `self()` can be received by a later expression.
    ///
    /// # Errors
    /// What was thrown, as `{Class, Reason, Stack}`, or what the node printed if it ended.
    ///
    /// # Panics
    /// If it takes longer than a minute.
    pub async fn try_eval(&mut self, expression: &str) -> Result<String, String> {
        let line = format!("{}.\n", expression.lines().map(str::trim).collect::<Vec<_>>().join(" "));
        let stdin = self.stdin.as_mut().ok_or("the node was stopped")?;
        stdin.write_all(line.as_bytes()).map_err(|error| format!("{} has ended: {error}", self.name))?;
        self.answer().await
    }

    /// As [`try_eval`](Self::try_eval), for expressions that are to have a value.
    ///
    /// # Panics
    /// If they have none.
    pub async fn eval(&mut self, expression: &str) -> String {
        match self.try_eval(expression).await {
            Ok(value) => value,
            Err(error) => panic!("{}: {expression}: {error}", self.name),
        }
    }

    /// Evaluates an expression whose value is a binary, and returns its bytes: `term_to_binary(…)` gives golden
    /// bytes.
    ///
    /// # Panics
    /// If its value is no binary.
    pub async fn eval_bytes(&mut self, expression: &str) -> Vec<u8> {
        let hex = self.eval(&format!("binary_to_list(binary:encode_hex(begin {expression} end))")).await;
        let hex = hex.trim_matches(['"', '[', ']']);
        hex.as_bytes()
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect::<Option<_>>()
            .expect("encode_hex gives pairs of hexadecimal digits")
    }

    /// Compiles and loads a module from its source, which may lie outside of what the node can see of the disk.
    ///
    /// # Panics
    /// If it does not compile.
    pub async fn load(&mut self, source: &str) {
        let hex: String = source.bytes().map(|byte| format!("{byte:02X}")).collect();
        let load = self.try_eval(&format!("({LOADER})(binary:decode_hex(<<\"{hex}\">>))")).await;
        if let Err(error) = load {
            panic!("{}: the module does not compile: {error}", self.name);
        }
    }

    /// Sends its emulator a signal, such as `STOP`, `CONT` or `KILL`.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn signal(&self, signal: &str) {
        send_signal(self.os_pid(), signal);
    }

    /// Ends the node in order (`init:stop()`), and waits until it has.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn stop(mut self) {
        let _ = self.try_eval("init:stop()").await;
        let end = Instant::now() + PATIENCE;
        while !matches!(self.child.try_wait(), Ok(Some(_))) {
            assert!(Instant::now() < end, "{} does not stop", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn answer(&mut self) -> Result<String, String> {
        let mut output = Vec::new();
        loop {
            let line = match timeout(PATIENCE, self.lines.recv()).await {
                Ok(Some(line)) => line,
                Ok(None) => return Err(format!("the node ended; it printed {output:?}")),
                Err(_) => panic!("{} does not answer; it printed {output:?}", self.name),
            };
            match line.strip_prefix("beamline-interop ").and_then(|answer| answer.split_once(' ')) {
                Some(("ok", value)) => return Ok(value.to_owned()),
                Some((_, error)) => return Err(error.to_owned()),
                None if line.is_empty() => {}
                None => {
                    eprintln!("{}: {line}", self.name);
                    output.push(line);
                }
            }
        }
    }
}

impl Drop for ErlNode {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a process of this host a signal, such as `STOP`, `CONT` or `KILL`.
pub(crate) fn send_signal(os_pid: u32, signal: &str) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &os_pid.to_string()]).status();
    assert!(matches!(&sent, Ok(status) if status.success()), "kill -{signal} {os_pid}: {sent:?}");
}

/// A stock `epmd` on loopback, of the environment variable `BEAMLINE_EPMD` or the path. Dropped, it is killed.
#[derive(Debug)]
pub struct StockEpmd {
    child: Child,
    port: u16,
}

impl StockEpmd {
    /// Starts it on a port and waits until it listens.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(port: u16, args: &[&str]) -> Self {
        let mut child = Self::command()
            .args(["-port", &port.to_string(), "-address", "127.0.0.1"])
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("erl comes with epmd");
        let end = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(matches!(child.try_wait(), Ok(None)), "epmd ended");
            assert!(Instant::now() < end, "epmd does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self { child, port }
    }

    /// The `epmd` program, for use as a client.
    pub fn command() -> Command {
        Command::new(std::env::var("BEAMLINE_EPMD").unwrap_or_else(|_| "epmd".to_owned()))
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for StockEpmd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
